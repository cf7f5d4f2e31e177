//! Chromium at the size of a phone, or on a desk, driven as WebDriver has it (W3C Recommendation of 2018), on loopback alone.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{client, tool};

/// The name of an element's id in answers (WebDriver §12.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A running browser; it ends with the value.
pub struct Browser {
    driver: Child,
    session: String,
    scripts: bool,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked to, the driver ends the browser that it has started; killed, it does not.
        let rest = self.session.trim_start_matches("http://");
        if let Some((host, path)) = rest.split_once('/')
            && let Ok(mut driver) = TcpStream::connect(host)
        {
            let _ = driver.set_read_timeout(Some(Duration::from_secs(5)));
            let _ = write!(driver, "DELETE /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            let _ = driver.read(&mut [0; 256]);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Browser {
    /// One that sends whatever it asks for to this proxy, with or without JavaScript.
    pub async fn start(proxy: &str, scripts: bool) -> Self {
        let phone = json!({"deviceMetrics": {"width": 360, "height": 640, "pixelRatio": 2.0, "touch": true}});
        Self::start_as(Some(phone), proxy, scripts).await
    }

    /// One on a desk, without a proxy.
    pub async fn on_a_desk(scripts: bool) -> Self {
        Self::start_as(None, "direct://", scripts).await
    }

    async fn start_as(device: Option<Value>, proxy: &str, scripts: bool) -> Self {
        let mut driver = tool("chromedriver").arg("--port=0").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines
            .find_map(|line| line.split("successfully on port ").nth(1)?.trim_end_matches('.').parse::<u16>().ok());
        let driver_at = format!("http://127.0.0.1:{}", port.expect("chromedriver says where it listens"));
        std::thread::spawn(move || lines.for_each(drop));
        let mut arguments = vec![
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,OptimizationHints",
            "--no-first-run",
            "--proxy-bypass-list=<-loopback>",
        ];
        let to_proxy = format!("--proxy-server={proxy}");
        arguments.push(&to_proxy);
        let javascript = if scripts { 1 } else { 2 };
        let mut options = json!({
            "args": arguments,
            "prefs": {"profile.managed_default_content_settings.javascript": javascript},
        });
        match device {
            Some(device) => options["mobileEmulation"] = device,
            None => options["args"].as_array_mut().unwrap().push(json!("--window-size=1280,900")),
        }
        let wanted = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}});
        let answer = client().post(format!("{driver_at}/session")).json(&wanted).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        let id = answer["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("{answer}"));
        Self { session: format!("{driver_at}/session/{id}"), driver, scripts }
    }

    async fn command(&self, path: &str, body: Value) -> Value {
        let request = client().post(format!("{}/{path}", self.session)).json(&body);
        let mut answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert!(answer["value"].get("error").is_none(), "{path}: {answer}");
        answer["value"].take()
    }

    async fn ask(&self, path: &str) -> Value {
        let mut answer: Value =
            client().get(format!("{}/{path}", self.session)).send().await.unwrap().json().await.unwrap();
        answer["value"].take()
    }

    /// A command of Chromium's own.
    async fn devtools(&self, command: &str, params: Value) {
        self.command("goog/cdp/execute", json!({"cmd": command, "params": params})).await;
    }

    /// What it asks for with Accept-Language from now on.
    pub async fn speaks(&self, language: &str) {
        let agent = "Mozilla/5.0 (Linux; Android 14; Phone) Chrome Mobile";
        let params = json!({"userAgent": agent, "acceptLanguage": language});
        self.devtools("Emulation.setUserAgentOverride", params).await;
    }

    /// Whether it is dark around.
    pub async fn is_dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let params = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.devtools("Emulation.setEmulatedMedia", params).await;
    }

    /// Opens an address and waits for the page.
    pub async fn open(&self, address: &str) {
        self.command("url", json!({"url": address})).await;
    }

    /// Where it is.
    pub async fn address(&self) -> String {
        self.ask("url").await.as_str().unwrap_or_default().to_owned()
    }

    /// The page as it is by now.
    pub async fn source(&self) -> String {
        self.ask("source").await.as_str().unwrap_or_default().to_owned()
    }

    async fn element(&self, selector: &str) -> Option<String> {
        let found = self.command("elements", json!({"using": "css selector", "value": selector})).await;
        Some(found.as_array()?.first()?[ELEMENT].as_str()?.to_owned())
    }

    /// The text of the first element that the selector finds, waited for.
    pub async fn text(&self, selector: &str) -> String {
        let element = self.awaited(selector).await;
        self.ask(&format!("element/{element}/text")).await.as_str().unwrap_or_default().to_owned()
    }

    async fn awaited(&self, selector: &str) -> String {
        for _ in 0..100 {
            if let Some(element) = self.element(selector).await {
                return element;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no {selector} at {}:\n{}", self.address().await, self.source().await)
    }

    /// Waits until the text of an element is this.
    pub async fn reads(&self, selector: &str, text: &str) {
        let mut latest = String::new();
        for _ in 0..100 {
            if let Some(element) = self.element(selector).await {
                latest = self.ask(&format!("element/{element}/text")).await.as_str().unwrap_or_default().to_owned();
                if latest == text {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{selector} reads {latest:?} and not {text:?} at {}:\n{}", self.address().await, self.source().await)
    }

    /// Types into a field that is emptied first.
    pub async fn types(&self, selector: &str, text: &str) {
        let element = self.awaited(selector).await;
        self.command(&format!("element/{element}/clear"), json!({})).await;
        self.command(&format!("element/{element}/value"), json!({"text": text})).await;
    }

    /// Taps an element; without scripts, which the driver's taps need, it is reached by the keyboard.
    pub async fn taps(&self, selector: &str) {
        let element = self.awaited(selector).await;
        if self.scripts {
            self.command(&format!("element/{element}/click"), json!({})).await;
        } else {
            self.command(&format!("element/{element}/value"), json!({"text": "\u{E007}"})).await;
        }
    }

    /// Presses keys where the keyboard is.
    pub async fn presses(&self, keys: &str) {
        let active = self.ask("element/active").await;
        let element =
            active[ELEMENT].as_str().unwrap_or_else(|| panic!("nothing has the keyboard: {active}")).to_owned();
        self.command(&format!("element/{element}/value"), json!({"text": keys})).await;
    }

    /// Where the keyboard is: what a screen reader would say of it.
    pub async fn is_at(&self) -> String {
        let script = "const at = document.activeElement; return at.getAttribute('aria-label') || at.innerText || at.id";
        let at = self.command("execute/sync", json!({"script": script, "args": []})).await;
        at.as_str().unwrap_or_default().to_owned()
    }

    /// Goes on by the Tab key to what is called so.
    pub async fn tabs_to(&self, name: &str) {
        let mut passed = Vec::new();
        for _ in 0..60 {
            self.presses("\u{E004}").await;
            let at = self.is_at().await;
            if at == name {
                return;
            }
            passed.push(at);
        }
        panic!("the Tab key does not reach {name}, but {passed:?}")
    }

    /// What axe-core finds wrong with the page (WCAG 2.2 A and AA, and best practices); nothing where scripts are off.
    pub async fn barriers(&self, axe: &str) -> Vec<String> {
        if !self.scripts {
            return Vec::new();
        }
        let run = "const done = arguments[arguments.length - 1];
                   axe.run(document).then((found) => done(found.violations), (error) => done(String(error)));";
        let script = format!("{axe};\n{run}");
        let found = self.command("execute/async", json!({"script": script, "args": []})).await;
        let found = found.as_array().unwrap_or_else(|| panic!("{found}"));
        found.iter().map(|rule| format!("{}: {} {}", rule["id"], rule["help"], rule["nodes"][0]["html"])).collect()
    }

    /// Writes a picture of the page.
    pub async fn picture(&self, path: &Path) {
        let picture = self.ask("screenshot").await;
        let picture = data_encoding::BASE64.decode(picture.as_str().unwrap().as_bytes()).unwrap();
        std::fs::write(path, picture).unwrap();
    }
}
