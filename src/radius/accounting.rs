//! Accounting-Request: authenticated and answered. What it says is not recorded yet.

use crate::radius::attribute::code;
use crate::radius::auth::proxy_state;
use crate::radius::clients::Client;
use crate::radius::packet::{Full, Packet, Reply};

/// Writes an Accounting-Response (RFC 2866 §4.2). It carries no Message-Authenticator: no RFC says over which
/// authenticator one would be made here, RouterOS sends none in accounting (facts/hotspot.md §4), and radclient 3.2.1 and
/// pyrad 2.6.0 refuse one that is made as in Access-Accept.
pub fn response<'b>(
    buffer: &'b mut [u8; Packet::MAX],
    request: &Packet<'_>,
    client: &Client,
) -> Result<&'b [u8], Full> {
    let mut reply = Reply::bare(buffer, code::ACCOUNTING_RESPONSE, request.identifier());
    proxy_state(&mut reply, request)?;
    Ok(reply.sign(&client.secret, request.authenticator()))
}
