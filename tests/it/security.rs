//! `docs/security.md` tells the truth: its recipes work, the files and the ports are those of a server.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use regex::Regex;
use serde_json::{Value, json};

use crate::support::{
    issuer::Issuer,
    process::{PATIENCE, run},
    server::{Server, campanile},
};

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/security.md")).unwrap()
}

/// The blocks of YAML below a heading.
fn recipes(heading: &str) -> Vec<String> {
    let page = page();
    let (_, section) = page.split_once(&format!("### {heading}\n")).unwrap();
    let section = Regex::new(r"\n##+ ").unwrap().split(section).next().unwrap().to_owned();
    section.split("```yaml\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn recipes_of_issuers_let_in_whom_their_groups_let_in() {
    for (heading, account) in [("Keycloak", "campanile"), ("Authelia", "https://auth.example.org")] {
        let [recipe] = &recipes(heading)[..] else { panic!("{heading} has one recipe") };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("recipe.yaml");
        fs::write(&file, recipe).unwrap();
        run(campanile(folder.path()).arg("check").arg("--config").arg(&file)).await.success();
        // The same with an issuer that is there.
        let issuer = Issuer::start().await;
        let mut config: Value = serde_saphyr::from_str(recipe).unwrap();
        let jwt = &mut config["auth"]["jwt"];
        let named = jwt["issuer"].clone();
        jwt["jwks_url"] = issuer.jwks_url().into();
        config["paths"] = json!({ "demo": { "source": "demo" } });
        let server = Server::start(config).await;
        let now = jiff::Timestamp::now().as_second();
        let token = |groups: Value, issued_by: &Value| {
            issuer.sign(json!({
                "iss": issued_by, "aud": ["campanile", account], "sub": "6b7f6a3e-0d5c-4f39-9a3b-1c1d2e3f4a5b",
                "iat": now, "exp": now + 300, "jti": "f5c1", "azp": "campanile", "scope": "openid profile",
                "preferred_username": "berta", "groups": groups,
            }))
        };
        let status = async |token: String| {
            let asked = server.client().get(server.http("/demo/index.m3u8")).bearer_auth(token);
            asked.send().await.unwrap().status().as_u16()
        };
        assert_eq!(status(token(json!(["family", "offline_access"]), &named)).await, 200, "{heading}");
        assert_eq!(status(token(json!(["others"]), &named)).await, 404, "{heading}");
        assert_eq!(status(token(json!(["family"]), &json!("https://evil.example"))).await, 401, "{heading}");
    }
}

#[tokio::test]
async fn recipe_of_traefik_leads_here_and_is_believed() {
    let [traefik, ours] = &recipes("Traefik")[..] else { panic!("one for each side") };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recipe.yaml");
    fs::write(&file, ours).unwrap();
    run(campanile(folder.path()).arg("check").arg("--config").arg(&file)).await.success();
    let (traefik, ours): (Value, Value) =
        (serde_saphyr::from_str(traefik).unwrap(), serde_saphyr::from_str(ours).unwrap());
    let http = &traefik["http"];
    let router = &http["routers"]["campanile"];
    let service = &http["services"][router["service"].as_str().unwrap()]["loadBalancer"];
    assert_eq!(service["servers"][0]["url"], format!("http://{}", ours["http"]["address"].as_str().unwrap()));
    let headers = &http["middlewares"][router["middlewares"][0].as_str().unwrap()]["headers"];
    assert_eq!(headers["customRequestHeaders"]["Forwarded"], "", "an empty value takes the header away");
}

#[tokio::test]
async fn files_of_the_state_have_the_modes_of_the_table() {
    let row = Regex::new(r"(?m)^\| (`[^|]+) \| (0\d{3}) \|").unwrap();
    let mut table = BTreeMap::new();
    for found in row.captures_iter(&page()) {
        for name in found[1].split('`').filter(|name| name.contains(|c: char| c.is_ascii_alphabetic())) {
            table.insert(name.to_owned(), u32::from_str_radix(&found[2], 8).unwrap());
        }
    }
    let server = Server::start(json!({
        "auth": {},
        "http": { "tls": "self-signed" },
        "notify": { "channels": { "phones": { "push": {} } } },
        "paths": { "demo": { "source": "demo" } },
    }))
    .await;
    let state = server.folder().join("state");
    let deadline = Instant::now() + PATIENCE;
    for file in
        ["addresses.json", "documents.db", "facts.db", "history.db", "lock", "push.pem", "tls.pem", "webrtc.pem"]
    {
        while !state.join(file).exists() {
            assert!(Instant::now() < deadline, "there is no {file}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    for entry in fs::read_dir(state).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().replace("-wal", "").replace("-shm", "");
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        let told = table.get(&name).unwrap_or_else(|| panic!("the table lacks {name}"));
        // What the umask takes away is nobody's loss.
        assert_eq!(mode & !told, 0, "{name} has {mode:o}, the table says {told:o}");
    }
}

#[test]
fn ports_of_the_table_are_those_of_the_defaults() {
    let defaults = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/campanile.yaml")).unwrap();
    let address = Regex::new(r"(?m)^  (?:tls_)?address: 127\.0\.0\.1:(\d+)$|^  udp_ports: \[(\d+), (\d+)\]$").unwrap();
    let page = page();
    let (_, table) = page.split_once("| Port |").unwrap();
    let table = table.split("\n\n").next().unwrap();
    let mut ports = 0;
    for found in address.captures_iter(&defaults) {
        for port in found.iter().skip(1).flatten() {
            assert!(table.contains(port.as_str()), "{} is not in the table", port.as_str());
            ports += 1;
        }
    }
    assert_eq!(ports, 6, "of HTTP, RTSP, RTSPS, WebRTC, and a pair for UDP");
}
