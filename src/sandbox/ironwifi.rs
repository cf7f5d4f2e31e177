//! The sandbox IronWifi: users and attributes of its management interface, as IronWifi/docs rest_api.md has them, with lists
//! as IronWifi/terraform-provider-ironwifi reads them. What neither says is taken so: names are unique whatever their case
//! (409), an attribute may be given twice, and with a user its attributes go.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Path, Query, Request, State as Shared};
use axum::http::header::{AUTHORIZATION, RETRY_AFTER};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Json, Response};
use axum::routing::{delete, get};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::listener;

/// The key that it takes.
pub const KEY: &str = "demo";

/// Users on one page of a list.
const PAGE: usize = 25;

/// Where users and attributes stand.
const BASE: &str = "/api";

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status, and nothing is done.
    Status(u16),
    /// It is done, and the connection is closed before the answer.
    Lost,
}

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its attributes by table and name, sorted.
    pub attributes: Vec<(String, String, String)>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    users: BTreeMap<u64, String>,
    /// Attributes by id: user, table, name, value.
    attributes: BTreeMap<u64, (u64, String, String, String)>,
    /// What goes wrong with which call (`POST /users`, without ids) from its number on, and how often.
    faults: Vec<(String, Fault, u32)>,
    seen: Vec<String>,
    pages_elsewhere: bool,
    replaces: bool,
}

/// A running sandbox; it stops when this is dropped.
#[derive(Debug)]
pub struct Sandbox {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    stop: CancellationToken,
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sandbox {
    /// Serves on `listener` from a task of its own.
    pub fn start(listener: TcpListener) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let state: Arc<Mutex<State>> = Arc::new(Mutex::new(State { next: 2_969_744, ..State::default() }));
        let stop = CancellationToken::new();
        tokio::spawn(listener::serve(listener, router(&state), stop.clone()));
        Ok(Self { state, address, stop })
    }

    /// Serves on a free port of the loopback interface.
    pub async fn start_local() -> std::io::Result<Self> {
        Self::start(TcpListener::bind(("127.0.0.1", 0)).await?)
    }

    /// What `ironwifi.push.base_url` must be.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}{BASE}", self.address)
    }

    /// Every user by its id.
    #[must_use]
    pub fn users(&self) -> BTreeMap<u64, User> {
        let state = locked(&self.state);
        let of = |user: u64| {
            let mut attributes: Vec<_> = state
                .attributes
                .values()
                .filter(|(owner, ..)| *owner == user)
                .map(|(_, table, name, value)| (table.clone(), name.clone(), value.clone()))
                .collect();
            attributes.sort();
            attributes
        };
        state.users.iter().map(|(id, name)| (*id, User { name: name.clone(), attributes: of(*id) })).collect()
    }

    /// Makes a user, as an operator does at the console; its id.
    pub fn put_user(&self, name: &str) -> u64 {
        locked(&self.state).create(name)
    }

    /// Deletes a user, as an operator does.
    pub fn delete_user(&self, id: u64) {
        locked(&self.state).delete(id);
    }

    /// Lets calls fail: the method and the path without ids (`POST /users`), and how often.
    pub fn fail(&self, call: &str, fault: Fault, times: u32) {
        locked(&self.state).faults.push((call.to_owned(), fault, times));
    }

    /// Lets no call fail any more.
    pub fn forgive(&self) {
        locked(&self.state).faults.clear();
    }

    /// Lets lists go on at another host, or no more.
    pub fn set_pages_elsewhere(&self, elsewhere: bool) {
        locked(&self.state).pages_elsewhere = elsewhere;
    }

    /// Whether an attribute that is given replaces one of its name, rather than standing beside it.
    pub fn set_replaces(&self, replaces: bool) {
        locked(&self.state).replaces = replaces;
    }

    /// Gives a user a name and an attribute, as an operator does.
    pub fn change_user(&self, id: u64, name: &str, attribute: (&str, &str, &str)) {
        let mut state = locked(&self.state);
        state.users.insert(id, name.to_owned());
        let (table, name, value) = attribute;
        state.add(id, table.to_owned(), name.to_owned(), value.to_owned());
    }

    /// The calls since this was last asked, as [`Sandbox::fail`] names them.
    #[must_use]
    pub fn take_seen(&self) -> Vec<String> {
        std::mem::take(&mut locked(&self.state).seen)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl State {
    fn create(&mut self, name: &str) -> u64 {
        self.next += 1;
        self.users.insert(self.next, name.to_owned());
        self.next
    }

    fn delete(&mut self, id: u64) -> bool {
        self.attributes.retain(|_, (owner, ..)| *owner != id);
        self.users.remove(&id).is_some()
    }

    fn add(&mut self, user: u64, table: String, name: String, value: String) -> u64 {
        let of_name = |(_, known): &(&u64, &(u64, String, String, String))| {
            (known.0, &known.1, &known.2) == (user, &table, &name)
        };
        let known = self.attributes.iter().find(of_name).map(|(id, _)| *id).filter(|_| self.replaces);
        let id = known.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        self.attributes.insert(id, (user, table, name, value));
        id
    }

    fn strike(&mut self, call: &str) -> Option<Fault> {
        let (_, fault, times) = self.faults.iter_mut().find(|(of, _, times)| of == call && *times > 0)?;
        *times -= 1;
        Some(*fault)
    }
}

fn router(state: &Arc<Mutex<State>>) -> Router {
    let routes = Router::new()
        .route("/users", get(users).post(create))
        .route("/users/{id}", get(user).delete(delete_user))
        .route("/attributes", get(attributes).post(add))
        .route("/attributes/{id}", delete(remove))
        .layer(middleware::from_fn_with_state(Arc::clone(state), front))
        .with_state(Arc::clone(state));
    Router::new().nest(BASE, routes)
}

fn problem(status: StatusCode, title: &str) -> Response {
    (status, Json(json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": title})))
        .into_response()
}

async fn front(Shared(state): Shared<Arc<Mutex<State>>>, request: Request, next: Next) -> Response {
    let path: Vec<&str> = request.uri().path().split('/').filter(|part| !part.is_empty() && *part != "api").collect();
    let call = format!("{} /{}", request.method(), path.first().copied().unwrap_or_default());
    let call = if path.len() > 1 || request.method() == Method::DELETE { format!("{call}/") } else { call };
    let fault = {
        let mut state = locked(&state);
        state.seen.push(call.clone());
        state.strike(&call)
    };
    let allowed = request.headers().get(AUTHORIZATION).is_some_and(|key| key == &format!("Bearer {KEY}"));
    if !allowed {
        return problem(StatusCode::UNAUTHORIZED, "Unauthorized");
    }
    match fault {
        Some(Fault::Status(429)) => (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "7")]).into_response(),
        Some(Fault::Status(status)) => {
            problem(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), "Played")
        }
        Some(Fault::Lost) => {
            let _ = next.run(request).await;
            listener::hangup()
        }
        None => next.run(request).await,
    }
}

async fn users(Shared(state): Shared<Arc<Mutex<State>>>, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let state = locked(&state);
    let page: usize = query.get("page").and_then(|page| page.parse().ok()).unwrap_or(1).max(1);
    let shown: Vec<Value> = state
        .users
        .iter()
        .skip((page - 1) * PAGE)
        .take(PAGE)
        .map(|(id, name)| json!({"id": id.to_string(), "username": name, "status": ""}))
        .collect();
    let link = |host: &str, page: usize| json!({"href": format!("{host}{BASE}/users?page={page}")});
    let mut links = serde_json::Map::from_iter([("self".to_owned(), link("", page))]);
    if page * PAGE < state.users.len() {
        let host = if state.pages_elsewhere { "http://192.0.2.1" } else { "" };
        links.insert("next".to_owned(), link(host, page + 1));
    }
    let pages = state.users.len().div_ceil(PAGE);
    let (total, page_size) = (state.users.len(), PAGE);
    Json(json!({
        "_embedded": {"users": shown}, "_links": links, "page": page, "page_count": pages, "page_size": page_size,
        "total_items": total,
    }))
    .into_response()
}

async fn create(Shared(state): Shared<Arc<Mutex<State>>>, Json(body): Json<Value>) -> Response {
    let mut state = locked(&state);
    let Some(name) = body.get("username").and_then(Value::as_str).filter(|name| !name.is_empty()) else {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, "Failed Validation");
    };
    if state.users.values().any(|known| known.eq_ignore_ascii_case(name)) {
        return problem(StatusCode::CONFLICT, "Username exists");
    }
    let id = state.create(name);
    (StatusCode::CREATED, Json(json!({"id": id.to_string(), "username": name}))).into_response()
}

async fn user(Shared(state): Shared<Arc<Mutex<State>>>, Path(id): Path<u64>) -> Response {
    match locked(&state).users.get(&id) {
        Some(name) => Json(json!({"id": id.to_string(), "username": name})).into_response(),
        None => problem(StatusCode::NOT_FOUND, "Entity not found."),
    }
}

async fn delete_user(Shared(state): Shared<Arc<Mutex<State>>>, Path(id): Path<u64>) -> Response {
    if locked(&state).delete(id) {
        StatusCode::NO_CONTENT.into_response()
    } else {
        problem(StatusCode::NOT_FOUND, "Entity not found.")
    }
}

async fn attributes(
    Shared(state): Shared<Arc<Mutex<State>>>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let state = locked(&state);
    let user: Option<u64> = query.get("userid").and_then(|user| user.parse().ok());
    let listed: Vec<Value> = state
        .attributes
        .iter()
        .filter(|(_, (owner, table, ..))| Some(*owner) == user && query.get("table") == Some(table))
        .map(|(id, (owner, table, name, value))| {
            json!({"id": id.to_string(), "userid": owner, "attribute": name, "operator": ":=", "value": value, "table": table})
        })
        .collect();
    Json(json!({"_embedded": {"attributes": listed}})).into_response()
}

async fn add(Shared(state): Shared<Arc<Mutex<State>>>, Json(body): Json<Value>) -> Response {
    let mut state = locked(&state);
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let user = match body.get("userid") {
        Some(Value::Number(user)) => user.as_u64(),
        Some(Value::String(user)) => user.parse().ok(),
        _ => None,
    };
    let (Some(user), Some(table), Some(name), Some(value)) = (user, text("table"), text("attribute"), text("value"))
    else {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, "Failed Validation");
    };
    if !state.users.contains_key(&user) {
        return problem(StatusCode::NOT_FOUND, "Entity not found.");
    }
    let id = state.add(user, table, name, value);
    (StatusCode::CREATED, Json(json!({"id": id.to_string()}))).into_response()
}

async fn remove(
    Shared(state): Shared<Arc<Mutex<State>>>,
    Path(id): Path<u64>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let mut state = locked(&state);
    let is_there = state.attributes.get(&id).is_some_and(|(_, table, ..)| query.get("table") == Some(table));
    if is_there {
        state.attributes.remove(&id);
        StatusCode::NO_CONTENT.into_response()
    } else {
        problem(StatusCode::NOT_FOUND, "Entity not found.")
    }
}
