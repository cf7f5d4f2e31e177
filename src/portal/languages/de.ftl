## Why a code is not let in, and what to do next

denied-malformed = Bitte geben Sie den Zugangscode ein, den Sie erhalten haben.
denied-throttled = Zu viele falsche Codes. Bitte warten Sie ein paar Minuten und versuchen Sie es dann erneut.
denied-source-unavailable = Dieser Code kann gerade nicht geprüft werden. Bitte versuchen Sie es in einer Minute erneut.
denied-unknown-code = Dieser Code ist nicht bekannt. Bitte prüfen Sie ihn und versuchen Sie es erneut.
denied-unknown-device = Dieses Gerät ist hier nicht bekannt. Bitte geben Sie Ihren Zugangscode ein.
denied-wrong-location = Dieser Code gilt nicht an diesem Standort. Bitte fragen Sie am Empfang.
denied-ambiguous-code = Dieser Code wurde zweimal vergeben. Bitte lassen Sie sich am Empfang einen anderen geben.
denied-wrong-password = Das Passwort passt nicht zu diesem Code. Bitte geben Sie nur den Code ein.
denied-not-yet-valid = Dieser Code gilt ab dem { $from }. Bitte versuchen Sie es dann erneut.
denied-not-yet-valid-undated = Dieser Code gilt noch nicht. Bitte versuchen Sie es später erneut.
denied-expired = Dieser Code ist am { $to } abgelaufen. Einen neuen bekommen Sie am Empfang.
denied-expired-undated = Dieser Code ist abgelaufen. Einen neuen bekommen Sie am Empfang.
denied-device-mismatch = Dieser Code gehört zu einem anderen Gerät. Nutzen Sie jenes Gerät oder bitten Sie am Empfang um einen eigenen Code.
denied-no-minutes-left = Auf diesem Code ist keine Zeit mehr. Mehr bekommen Sie am Empfang.
denied-user-limit-reached =
    { $limit ->
        [one] Dieser Code wird auf einem anderen Gerät benutzt. Bitte melden Sie sich zuerst dort ab.
       *[other] Dieser Code wird auf { $limit } Geräten benutzt, mehr sind nicht erlaubt. Bitte melden Sie sich zuerst auf einem ab.
    }

## The login page

login-code = Zugangscode
login-go = Online gehen
login-hint = Geben Sie den Code so ein, wie Sie ihn erhalten haben. Kein Code? Fragen Sie am Empfang.
login-terms = Nutzungsbedingungen
hand-over-ready = Ihr Code ist gültig. Noch einmal tippen, und Sie sind online.
language = Sprache
login-title = Online gehen

## The status page

status-online = Sie sind online
status-offline = Sie sind nicht online
status-time-left = Verbleibende Zeit
status-unlimited = Unbegrenzt
status-valid-until = Gültig bis
status-devices = Geräte in Benutzung
status-devices-of = { $devices } von { $limit }
status-warning = Ihre Zeit endet in { $time }. Speichern Sie vorher Ihre Arbeit.
status-log-out = Abmelden
status-continue = Weiter zu { $host }

## The logout page

logout-done = Sie sind abgemeldet
logout-kept = Die restliche Zeit auf Ihrem Code bleibt für das nächste Mal erhalten.
logout-pending = Das WLAN wurde angewiesen, Sie abzumelden. Das kann eine Minute dauern.
logout-impossible = Dieses Gerät kann von hier aus nicht abgemeldet werden. Es bleibt online, bis es das WLAN verlässt.
logout-again = Wieder online gehen

## The error page

error-title = Das hat nicht geklappt
error-not-from-router = Diese Seite muss über die Anmeldung des WLANs geöffnet werden. Bitte verbinden Sie sich erneut mit dem WLAN.
error-unknown-router = Diese Seite kennt den Router dieses WLANs nicht. Bitte sagen Sie am Empfang Bescheid.
error-go-to-router = Anmeldung des WLANs öffnen

## What the router says went wrong

router-timeout = Das WLAN hat nicht rechtzeitig geantwortet. Bitte versuchen Sie es erneut.
router-chap-missing = Die Anmeldung ist nicht beim WLAN angekommen. Bitte versuchen Sie es erneut.
router-refused = Das WLAN hat die Anmeldung nicht angenommen. Bitte versuchen Sie es erneut.

## Devices in use, and taking over a place

devices-title = Geräte in Benutzung
devices-hint = Um hier online zu gehen, wählen Sie ein Gerät, das dafür offline geht.
devices-ending = Gerät mit der Endung { $end }
devices-use-here = Stattdessen hier nutzen
devices-since = seit { $time }
devices-since-date = seit dem { $date }

## Durations

duration-hours =
    { $hours ->
        [one] { $hours } Stunde
       *[other] { $hours } Stunden
    }
duration-minutes =
    { $minutes ->
        [one] { $minutes } Minute
       *[other] { $minutes } Minuten
    }
duration-hours-minutes = { duration-hours } { duration-minutes }
duration-moments = weniger als 1 Minute

## Dates

time = { $clock } Uhr
date = { $day }. { month } um { time }
date-with-year = { $day }. { month } { $year } um { time }
month =
    { $month ->
        [1] Januar
        [2] Februar
        [3] März
        [4] April
        [5] Mai
        [6] Juni
        [7] Juli
        [8] August
        [9] September
        [10] Oktober
        [11] November
       *[12] Dezember
    }

## The router's own pages

page-continue = Weiter
page-javascript = Um hier online zu gehen, schalten Sie bitte JavaScript in diesem Browser ein.
router-fault = Das WLAN ist gestört. Bitte sagen Sie am Empfang Bescheid.
router-no-address = Das WLAN hat für dieses Gerät keine Adresse mehr frei. Bitte versuchen Sie es in ein paar Minuten erneut.
router-restarting = Das WLAN wird gerade neu gestartet. Bitte versuchen Sie es in ein paar Minuten erneut.
router-devices = Dieser Code wird schon auf so vielen Geräten benutzt, wie er erlaubt. Bitte melden Sie sich zuerst auf einem ab.
router-full = Das WLAN nimmt gerade keine weiteren Geräte an. Bitte versuchen Sie es in ein paar Minuten erneut.
router-in-progress = Die Anmeldung wird noch geprüft. Bitte warten Sie einen Moment und versuchen Sie es dann erneut.
