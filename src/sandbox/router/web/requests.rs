//! What a request is for, and which page answers it.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Form as Posted, FromRequest as _, Query};
use axum::http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;

use super::connections::Hangup;
use super::forward::forward;
use super::login::Outcome;
use super::pages::{content_type, is_servlet};
use super::variables::{Form, Redirect, Variables};
use super::{Device, Online};
use crate::radius::attribute::TerminateCause;
use crate::sandbox::servlet::{self, Printed};

/// The largest form, in octets.
const MOST: usize = 16 * 1024;
/// The longest destination, in octets.
const LONGEST: usize = 2048;

/// Parameters of a request: those of the form before those of the address.
#[derive(Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }
}

/// What an answer is made for.
pub(super) struct Asked<'a> {
    /// The sub-folder of pages, or nothing.
    folder: String,
    pub(super) fields: &'a Fields,
    /// Where the guest wanted to go, or nothing.
    orig: String,
}

impl Device {
    /// Answers a request.
    pub(super) async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Hangup> {
        let session = self.session();
        if request.method() == Method::CONNECT {
            // RouterOS from 7.5 refuses HTTPS before the login (facts/hotspot.md §5.4).
            session.ok_or(Hangup)?;
            return Ok(plain(StatusCode::BAD_GATEWAY, "There is no HTTPS on this internet."));
        }
        let authority = request.uri().authority().map(ToString::to_string);
        let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
        let host = authority.or(named).unwrap_or_else(|| self.host.clone()).to_ascii_lowercase();
        let host = host.strip_suffix(":80").unwrap_or(&host).to_owned();
        if host != self.host && host != format!("localhost:{}", self.port) {
            if let (Some(&to), Some(guest)) = (self.profile.walled_garden.get(&host), self.address()) {
                return Ok(forward(request, &host, to, guest).await);
            }
            return Ok(self.abroad(request.uri(), &host, session.as_ref()));
        }
        let path = request.uri().path().trim_start_matches('/').to_owned();
        let (folder, page) = match path.split_once('/') {
            Some((folder, page)) if self.profile.pages.has_folder(folder) => (folder, page),
            _ => ("", path.as_str()),
        };
        let own = matches!(page, "login" | "logout" | "status" | "api" | "error");
        if !own && self.profile.pages.find(folder, &[page]).is_none() {
            return Ok(self.abroad(request.uri(), &host, session.as_ref()));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD | Method::POST) {
            return Ok(plain(StatusCode::METHOD_NOT_ALLOWED, "GET or POST."));
        }
        let Ok(fields) = fields(request).await else {
            return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, "The form is too long."));
        };
        let target = fields.text("target");
        let folder = if self.profile.pages.has_folder(target) { target } else { folder };
        let orig = destination(fields.text("dst"));
        let asked = Asked { folder: folder.to_owned(), fields: &fields, orig: orig.to_owned() };
        self.at_home(page, &asked, session).await
    }

    /// One of the router's own pages.
    async fn at_home(
        self: &Arc<Self>,
        page: &str,
        asked: &Asked<'_>,
        session: Option<Online>,
    ) -> Result<Response<Body>, Hangup> {
        let online = session.is_some();
        let mut variables = self.variables(asked, session.as_ref());
        Ok(match page {
            "login" if online => self.logged_in(asked, session.as_ref()),
            "login" => match self.log_in(asked).await? {
                Outcome::Online => self.logged_in(asked, self.session().as_ref()),
                Outcome::Shown => self.login_page(asked, None),
                Outcome::Failed { key, original } => self.login_page(asked, Some((key, &original))),
            },
            "status" if online => {
                variables.counters = true;
                self.page(asked, &["status.html"], &variables)
            }
            "status" => self.page(asked, &["fstatus.html", "redirect.html"], &variables),
            "logout" if online => {
                self.shared.end(&mut self.shared.state(), self.mac, TerminateCause::USER_REQUEST);
                variables.logged_in = false;
                variables.counters = true;
                self.page(asked, &["logout.html"], &variables)
            }
            "logout" => self.page(asked, &["flogout.html", "redirect.html"], &variables),
            "api" => {
                let mut answer = self.page(asked, &["api.json"], &variables);
                if answer.status() == StatusCode::OK {
                    let kind = HeaderValue::from_static("application/captive+json");
                    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
                }
                answer
            }
            "error" => self.page(asked, &["error.html"], &variables),
            file => self.page(asked, &[file], &variables),
        })
    }

    /// A page of the web.
    fn abroad(&self, uri: &Uri, host: &str, session: Option<&Online>) -> Response<Body> {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let url = format!("http://{host}{path}");
        if session.is_some() {
            return internet(&self.host, &url, host);
        }
        let fields = Fields::default();
        let asked = Asked { folder: String::new(), fields: &fields, orig: destination(&url).to_owned() };
        self.page(&asked, &["rlogin.html", "redirect.html"], &self.variables(&asked, None))
    }

    /// What a login comes to that succeeded, now or before.
    fn logged_in(&self, asked: &Asked<'_>, session: Option<&Online>) -> Response<Body> {
        let form = Form { popup: asked.fields.text("popup"), ..Form::default() };
        let variables = Variables { form, redirect: Redirect::Onwards, ..self.variables(asked, session) };
        self.page(asked, &["alogin.html", "redirect.html"], &variables)
    }

    /// The login page, with what went wrong: the key of `errors.txt`, and the words of whoever refused.
    fn login_page(&self, asked: &Asked<'_>, wrong: Option<(&str, &str)>) -> Response<Body> {
        let mut variables = self.variables(asked, None);
        variables.form.username = asked.fields.text("username");
        variables.form.popup = asked.fields.text("popup");
        variables.form.challenge = self.challenge();
        let Some((key, original)) = wrong else { return self.page(asked, &["login.html"], &variables) };
        variables.form.error.key = key;
        variables.form.error.original = original;
        let words = self.profile.pages.error(&asked.folder, key).unwrap_or("$(error-orig)");
        let words = servlet::print(words, |name| variables.value(name)).body;
        variables.form.error.words = &words;
        self.page(asked, &["flogin.html", "login.html"], &variables)
    }

    fn variables<'a>(&'a self, asked: &'a Asked<'_>, session: Option<&'a Online>) -> Variables<'a> {
        Variables {
            host: &self.host,
            identity: self.shared.hotspot.name(),
            folder: &asked.folder,
            login_by: self.profile.login_by,
            mac: self.mac,
            address: session.map(|session| session.address).or_else(|| self.address()),
            session,
            opened_by: session.map_or("", |session| self.opened_by(&session.session_id)),
            logged_in: session.is_some(),
            counters: false,
            orig: &asked.orig,
            redirect: if session.is_some() { Redirect::Status } else { Redirect::Login },
            session_id: asked.fields.text("session-id"),
            var: asked.fields.text("var"),
            form: Form::default(),
        }
    }

    /// The first of these files that there is.
    fn page(&self, asked: &Asked<'_>, names: &[&str], variables: &Variables<'_>) -> Response<Body> {
        let Some((name, text)) = self.profile.pages.find(&asked.folder, names) else {
            return plain(StatusCode::NOT_FOUND, "The router has no such page.");
        };
        let printed = if is_servlet(name) || name == "api.json" {
            servlet::print(text, |name| variables.value(name))
        } else {
            Printed { body: text.to_owned(), ..Printed::default() }
        };
        response(printed, content_type(name))
    }
}

async fn fields(request: Request<Incoming>) -> Result<Fields, axum::Error> {
    let mut fields = Vec::new();
    let (parts, body) = request.into_parts();
    let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map(|Query(query)| query).unwrap_or_default();
    if parts.method == Method::POST {
        let body = to_bytes(Body::new(body), MOST).await?;
        // what is no form has no fields
        let posted = Posted::<Vec<(String, String)>>::from_request(Request::from_parts(parts, Body::from(body)), &());
        fields = posted.await.map(|Posted(posted)| posted).unwrap_or_default();
    }
    fields.extend(query);
    Ok(Fields(fields))
}

/// The address, or nothing where it is none that a guest can be sent to.
fn destination(text: &str) -> &str {
    if text.len() <= LONGEST && !text.contains(char::is_control) { text } else { "" }
}

/// What a page has come to, as an answer. A status that ends no request, and headers that are none or are the connection's,
/// are left out.
fn response(printed: Printed, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(printed.body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Some((code, words)) = printed.status
        && let Ok(status) = StatusCode::from_u16(code)
        && !status.is_informational()
    {
        *response.status_mut() = status;
        if let Ok(words) = ReasonPhrase::try_from(words.trim().as_bytes()) {
            response.extensions_mut().insert(words);
        }
    }
    for (name, value) in printed.headers {
        let of_the_connection = ["connection", "content-length", "transfer-encoding", "trailer", "upgrade"];
        let name = name.trim().parse::<HeaderName>().ok().filter(|name| !of_the_connection.contains(&name.as_str()));
        if let (Some(name), Ok(value)) = (name, HeaderValue::from_str(value.trim())) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// A few words for an answer.
pub(super) fn plain(status: StatusCode, words: &'static str) -> Response<Body> {
    (status, words).into_response()
}

/// What stands for every page of the web.
fn internet(router: &str, url: &str, host: &str) -> Response<Body> {
    let [url, host] = [url, host].map(for_html);
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<title>The internet</title>\n<h1>This is the internet: you reached {host}</h1>\n\
         <p>{url}</p>\n<p><a href=\"http://{router}/status\">Status</a> · <a href=\"http://{router}/logout\">Log out</a></p>\n\
         </html>\n"
    );
    response(Printed { body: page, ..Printed::default() }, "text/html; charset=utf-8")
}

fn for_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
