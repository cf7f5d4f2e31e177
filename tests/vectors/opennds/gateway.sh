# Becomes openNDS, on a machine that is this one but for what is written to it: that is forgotten with it.
set -e
folder=$1
mount -t tmpfs none /run
mkdir /run/site /run/changes /run/work /run/lib /run/lib-changes /run/lib-work
mount --bind "$folder" /run/site
mount -t overlay -o lowerdir=/etc,upperdir=/run/changes,workdir=/run/work none /etc
mount -t overlay -o lowerdir=/usr/lib/opennds,upperdir=/run/lib-changes,workdir=/run/lib-work none /usr/lib/opennds
mount -t tmpfs none /tmp
# It would have the services of this machine begin anew.
mount --bind /bin/true /usr/bin/systemctl
# As docs/systems.md says: Debian's openNDS does not start with Debian's iptables (openNDS issue 429).
sed -i 's/nft \(add\|rename\) chain ip filter \(FORWARD\|INPUT\) .*/:/' /usr/lib/opennds/libopennds.sh
cp /run/site/opennds.conf /etc/opennds/opennds.conf
cp /run/site/spotgate-binauth.sh /usr/lib/opennds/
chmod 755 /usr/lib/opennds/spotgate-binauth.sh
umask 077
cp /run/site/settings /etc/opennds/spotgate
# It serves nobody to whom no lease was given.
cp /run/site/dhcp.leases /tmp/
echo 1 >/proc/sys/net/ipv4/ip_forward
exec opennds -f -d 2 -c /etc/opennds/opennds.conf
