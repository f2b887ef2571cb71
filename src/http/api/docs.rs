//! `/api/docs`: the API for people. Written from the OpenAPI document when it is first asked for: plain HTML, no script,
//! nothing from elsewhere.

use std::{
    borrow::Cow,
    fmt::{self, Write},
    sync::LazyLock,
};

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, header};
use serde_json::{Map, Value};

use super::document::JSON;

/// Nothing but its own style sheet.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// The codes of problems that HTTP doors answer, with what they mean.
const CODES: &[(&str, &str)] = &[
    ("alert_not_found", "There is no alert of this fingerprint."),
    ("alert_over", "The alert is over; there is nothing to take note of."),
    ("another_user", "A connection goes on with a token of its own user, and with no other."),
    ("auth_off", "`auth: off`: there are no users, and nobody logs in."),
    (
        "auth_unavailable",
        "The server that decides about callers (`auth.http`) gives no answer, and so nobody is let in.",
    ),
    ("batch_not_taken", "A GraphQL request stands alone in its body."),
    ("body_timeout", "The body of the request did not come to its end in time."),
    ("body_too_large", "The body of the request is larger than `http.max_body_size`, or than this URL takes."),
    ("body_unreadable", "The body of the request broke off."),
    ("channel_not_found", "There is no way out of this name."),
    ("channels_busy", "Too many channels are tried, or too many orders wait for them; ask again after `Retry-After`."),
    ("csrf_token", "What comes with the cookie and changes something says `X-CSRF-Token`; `whoami` tells the word."),
    ("door_switched_off", "The configuration switched this door off; `hint` names the option."),
    ("draining", "The server is ending; ask another one, or this one in a moment."),
    ("events_full", "Too many events wait for the disk; ask again after `Retry-After`."),
    ("group_not_found", "The configuration has no group of this name."),
    ("hls_disabled", "`hls.enabled` is off."),
    ("ice_session_stale", "`If-Match` is the tag of an earlier ICE session."),
    ("if_match_missing", "A PATCH of a WebRTC session names its `ETag` in `If-Match`, or `*` to begin ICE anew."),
    ("internal", "A fault of this program. The log knows it by the problem's `instance`."),
    ("introspection_off", "This server does not tell what GraphQL has to ask (`events.graphql_introspection`)."),
    ("invalid_argument", "The request can never work as it is."),
    ("invalid_body", "The body is no JSON of the shape this URL takes; `detail` says where."),
    ("invalid_credential", "The name, the password or the token is not right, or not any more."),
    ("invalid_cursor", "`after` is no `id` of a fact."),
    ("invalid_directive", "`_HLS_msn`, `_HLS_part` or `_HLS_skip` has a value that cannot be obeyed."),
    ("invalid_event", "The body is no event; `detail` says what is wrong."),
    ("invalid_filter", "A filter of events names what cannot be; `detail` says which."),
    ("invalid_fragment", "The ICE fragment (RFC 8840) cannot be read; `detail` says where."),
    ("invalid_history", "`from`, `to`, `step`, `agg` or `format` of a history cannot be obeyed; `detail` says which."),
    ("invalid_host", "The request names no host, or more than one."),
    ("invalid_key", "`Idempotency-Key` is empty, too long, or not printable."),
    ("invalid_limit", "`limit` is no number in its range."),
    ("invalid_offer", "The SDP offer cannot be read, or asks for what cannot be; `detail` says where."),
    ("invalid_password", "A password has 8 bytes at least, and not too many."),
    ("invalid_path_name", "The URL holds what can be no path name."),
    (
        "invalid_query",
        "A parameter of the URL, or a GraphQL query, is not what can be; `detail` or `message` says why.",
    ),
    ("invalid_reading", "The body holds no reading that can be taken; `detail` says why."),
    ("invalid_rendition", "`rendition` is neither `main` nor `sub`."),
    ("invalid_request", "This is no GraphQL request; `message` says why."),
    ("invalid_rule", "The rule is not right; `detail` says where, as `campanile check` would."),
    ("invalid_sensor_id", "The id of a sensor has 1 to 100 letters, digits, `_`, `.`, `:` and `-`."),
    ("invalid_silence", "The silence has no end, or one before its beginning."),
    ("invalid_time", "A time is not RFC 3339."),
    (
        "invalid_token",
        "A token of a program needs a name of one line, not too many permissions, and an end that is yet to come.",
    ),
    ("invalid_tracks", "`tracks` is neither `video` nor `audio`."),
    ("invalid_until", "`until` is past."),
    ("invalid_user_name", "A user's name has 1 to 64 letters, digits, `_`, `.`, `-` and `@`."),
    ("last_admin", "Nobody else administers the server."),
    ("letter_not_found", "There is no letter of this id that was given up."),
    ("login_too_old", "The password was shown too long ago; log in again."),
    ("media_not_found", "The segment or part is not there, or not any more."),
    ("method_not_allowed", "The URL does not take that method; `Allow` names those it takes."),
    ("muxer_ended", "The playlist of this path begins anew; ask again."),
    ("not_acceptable", "The client takes none of the forms this URL has."),
    ("not_allowed", "The credential does not let do this; `detail` names the permission."),
    ("not_found", "There is nothing at this URL."),
    ("nothing_in_common", "The viewer can take none of the path's tracks; `detail` has both lists."),
    ("nothing_playable", "None of the path's tracks can go through this door."),
    ("nothing_to_play", "No door is open that can play what the caller accepts."),
    ("offer_direction", "The offer does not ask to receive: it is `sendonly` or `inactive`."),
    ("offer_missing", "The request has no SDP offer: the viewer offers, the server answers."),
    ("origin_not_allowed", "The page of another site is not in `http.allowed_origins`."),
    ("path_not_found", "There is no path of this name."),
    ("path_not_ready", "The path exists, but its source has sent nothing yet; `detail` says why."),
    ("playlist_timeout", "What the playlist was asked to wait for did not come within three target durations."),
    ("push_disabled", "The configuration has no channel of Web Push."),
    ("query_too_complex", "The answer to a GraphQL query would have too many fields; ask for fewer or shorter lists."),
    ("query_too_deep", "A GraphQL query has too many fields or brackets within each other."),
    ("query_too_large", "A GraphQL query has too many words or fields."),
    ("range_not_satisfiable", "The range begins beyond the end."),
    ("rendition_not_found", "The path has no such rendition."),
    ("rule_exists", "There is a rule of this name already."),
    ("rule_in_file", "The rule stands in the configuration file and is changed there."),
    ("rule_not_found", "There is no rule of this id."),
    ("rules_busy", "Too many readings or orders wait for the rules; ask again after `Retry-After`."),
    ("sensor_not_found", "There is no sensor of this id."),
    ("session_ended", "An operator ended this session; its player is kept out for ten seconds."),
    ("session_not_found", "There is no session of this id."),
    ("silence_not_found", "There is no silence of this id."),
    ("starting", "The server is starting."),
    ("subscription_needs_websocket", "A GraphQL subscription goes over a WebSocket."),
    ("subscription_not_found", "There is no browser of this id that gets notifications."),
    ("token_not_found", "There is no token of this id that is the caller's."),
    ("too_many_aliases", "A GraphQL query has too many aliases."),
    ("too_many_attempts", "Too many logins failed, or are tried at once; come back after `Retry-After`."),
    ("too_many_connections", "This user, or this address, has as many streams of events as it may (`limits`)."),
    ("too_many_events", "This address sent too many events; ask again after `Retry-After`."),
    ("too_many_fields", "A GraphQL query has too many fields at its root."),
    ("too_many_followers", "As many follow events by this door as may."),
    ("too_many_handshakes", "Too many viewers come at once; ask again after `Retry-After`."),
    ("too_many_operations", "A connection has as many GraphQL operations as it may."),
    ("too_many_paths", "Patterns made as many paths as `limits.dynamic_paths` allows."),
    ("too_many_permissions", "A ticket has room for 32 permissions."),
    ("too_many_requests", "This address, or this user, asks too fast (`limits`); come back after `Retry-After`."),
    ("too_many_sessions", "A limit on viewers is reached; `hint` names it."),
    ("too_many_silences", "There are as many silences as there may be."),
    ("too_many_subscriptions", "As many browsers as may have subscribed to notifications."),
    ("too_many_tokens", "There are as many tokens of programs as may be; withdraw some."),
    ("unauthenticated", "This needs a credential, or a caller on the server's own machine."),
    ("unavailable", "It does not work now and may work later."),
    ("unsupported_encoding", "The body is packed; it has to come as it is, without `Content-Encoding`."),
    ("unsupported_event", "An event of this type or form is not taken."),
    ("unsupported_media_type", "The body is of another type than this URL takes."),
    ("user_exists", "There is a user of this name."),
    ("user_in_file", "The user stands in the configuration file, and is changed there."),
    ("user_not_found", "There is no user of this name in the store."),
    ("webrtc_disabled", "WebRTC is switched off."),
    ("websocket_expected", "This URL speaks WebSocket alone; the request has no `Upgrade: websocket`."),
    ("websocket_key", "`Sec-WebSocket-Key` is not 16 bytes in base64, or stands there more than once."),
    ("websocket_needs_http_1_1", "A WebSocket is opened over HTTP/1.1."),
    ("websocket_version", "This server speaks version 13 of the WebSocket protocol."),
];

/// The page.
pub(super) async fn page() -> Response {
    static PAGE: LazyLock<Bytes> = LazyLock::new(|| {
        let document = serde_json::from_slice(&JSON).unwrap_or_default();
        let mut html = String::new();
        // Writing to a string does not fail.
        let _ = write(&mut html, &document);
        Bytes::from(html)
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    ];
    (headers, PAGE.clone()).into_response()
}

/// Its style sheet.
pub(super) async fn style() -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, include_str!("docs.css")).into_response()
}

fn write(html: &mut String, document: &Value) -> fmt::Result {
    let info = &document["info"];
    let title = text(&info["title"]);
    write!(
        html,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}: the API</title><link rel=\"stylesheet\" href=\"docs.css\"></head><body>\
         <h1>{title}</h1><p>Version {}. <a href=\"openapi.json\">OpenAPI document</a>.</p><p>{}</p>",
        text(&info["version"]),
        prose(&info["description"]),
    )?;
    let operations = operations(document);
    html.push_str("<nav><ul>");
    for operation in &operations {
        write!(
            html,
            "<li><a href=\"#{}\"><code>{} {}</code></a></li>",
            operation.id, operation.method, operation.path
        )?;
    }
    html.push_str(
        "<li><a href=\"#shapes\">Shapes</a></li><li><a href=\"#problems\">Problems</a></li></ul></nav><main>",
    );
    for tag in each(&document["tags"]) {
        write!(html, "<h2>{}</h2><p>{}</p>", text(&tag["name"]), prose(&tag["description"]))?;
        for operation in operations.iter().filter(|operation| *operation.tag == tag["name"]) {
            operation.write(html)?;
        }
    }
    html.push_str("<h2 id=\"shapes\">Shapes</h2>");
    for (name, schema) in entries(&document["components"]["schemas"]) {
        shape(html, name, schema)?;
    }
    html.push_str("<h2 id=\"problems\">Problems</h2><p>The <code>code</code> of an error. More may come.</p>");
    html.push_str("<div class=\"scroll\"><table>");
    for (code, meaning) in CODES {
        write!(html, "<tr id=\"{code}\"><td><code>{code}</code></td><td>{}</td></tr>", marked(meaning))?;
    }
    html.push_str("</table></div></main></body></html>\n");
    Ok(())
}

struct Operation<'a> {
    id: String,
    tag: &'a Value,
    method: String,
    path: String,
    body: &'a Value,
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let mut operations = Vec::new();
    for (path, item) in entries(&document["paths"]) {
        for (method, body) in entries(item) {
            let id = format!("{method}{}", path.replace(['/', '{', '}', '.'], "-"));
            let (method, path) = (method.to_uppercase(), escape(path).into_owned());
            operations.push(Operation { id, tag: &body["tags"][0], method, path, body });
        }
    }
    operations
}

impl Operation<'_> {
    fn write(&self, html: &mut String) -> fmt::Result {
        let Self { id, method, path, body, .. } = self;
        write!(html, "<h3 id=\"{id}\"><code><span class=\"method\">{method}</span>{path}</code></h3>")?;
        write!(
            html,
            "<p>{} {}</p><div class=\"scroll\"><table>",
            prose(&body["summary"]),
            prose(&body["description"])
        )?;
        for parameter in each(&body["parameters"]) {
            let (name, place) = (text(&parameter["name"]), text(&parameter["in"]));
            let (kind, about) = (kind(&parameter["schema"]), prose(&parameter["description"]));
            write!(html, "<tr><td><code>{name}</code> in {place}</td><td>{kind}</td><td>{about}</td></tr>")?;
        }
        for (status, response) in entries(&body["responses"]) {
            let (media, shape) =
                entries(&response["content"]).next().map_or((Cow::Borrowed(""), String::new()), |(media, content)| {
                    (escape(media), kind(&content["schema"]))
                });
            write!(
                html,
                "<tr><td>{}</td><td>{shape}</td><td>{} <code>{media}</code></td></tr>",
                escape(status),
                prose(&response["description"])
            )?;
        }
        html.push_str("</table></div>");
        Ok(())
    }
}

fn shape(html: &mut String, name: &str, schema: &Value) -> fmt::Result {
    let name = escape(name);
    write!(html, "<h3 id=\"shape-{name}\"><code>{name}</code></h3><p>{}</p>", prose(&schema["description"]))?;
    if schema["properties"].is_object() {
        html.push_str("<div class=\"scroll\"><table>");
        for (field, property) in entries(&schema["properties"]) {
            let (field, kind, about) = (escape(field), kind(property), prose(&property["description"]));
            write!(html, "<tr><td><code>{field}</code></td><td>{kind}</td><td>{about}</td></tr>")?;
        }
        html.push_str("</table></div>");
    } else {
        write!(html, "<p>{}</p>", kind(schema))?;
    }
    Ok(())
}

/// A schema in a few words, with a link where it has a name.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        let name = escape(name);
        return format!("<a href=\"#shape-{name}\">{name}</a>");
    }
    for alternatives in ["oneOf", "anyOf", "allOf"] {
        if schema[alternatives].is_array() {
            return each(&schema[alternatives]).map(kind).collect::<Vec<_>>().join(" or ");
        }
    }
    if schema["enum"].is_array() {
        let words = each(&schema["enum"]).map(|word| format!("<code>{}</code>", text(word)));
        return words.collect::<Vec<_>>().join(" or ");
    }
    let mut words: Vec<String> = match &schema["type"] {
        Value::Array(types) => types.iter().map(|word| text(word).into_owned()).collect(),
        word => vec![text(word).into_owned()],
    };
    for word in &mut words {
        if word == "array" {
            *word = format!("list of {}", kind(&schema["items"]));
        } else if word == "object" && schema["additionalProperties"].is_object() {
            *word = format!("map to {}", kind(&schema["additionalProperties"]));
        }
    }
    words.join(" or ")
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn entries(map: &Value) -> impl Iterator<Item = (&String, &Value)> {
    map.as_object().into_iter().flat_map(Map::iter)
}

fn text(value: &Value) -> Cow<'_, str> {
    escape(value.as_str().unwrap_or_default())
}

/// Text with `code` in it.
fn prose(value: &Value) -> String {
    marked(value.as_str().unwrap_or_default())
}

fn marked(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let part =
        |(i, part)| if i % 2 == 1 { format!("<code>{}</code>", escape(part)) } else { escape(part).into_owned() };
    parts.map(part).collect()
}

fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    Cow::Owned(escaped.replace('"', "&quot;").replace('\'', "&#39;"))
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::PathBuf};

    use super::*;

    #[test]
    fn every_code_of_this_room_is_explained() {
        assert!(CODES.is_sorted(), "sorted by code");
        let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/http")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let source = fs::read_to_string(&path).unwrap();
                let source = source.split("#[cfg(test)]").next().unwrap();
                if path.to_string_lossy().contains("test") {
                    continue;
                }
                for code in source.split("with_code(\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
                    assert!(CODES.iter().any(|(known, _)| *known == code), "{code} of {}", path.display());
                }
            }
        }
    }

    #[test]
    fn the_page_is_whole_and_asks_nobody_else() {
        let document = serde_json::from_slice(&JSON).unwrap();
        let mut html = String::new();
        write(&mut html, &document).unwrap();
        for (path, _) in entries(&document["paths"]) {
            assert!(html.contains(path.as_str()), "{path}");
        }
        assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("<script"));
        assert!(!html.contains("style=") && html.len() < 200_000);
        for link in html.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(html.contains(&format!("id=\"{link}\"")), "{link}");
        }
        assert_eq!(marked("a `<b>` & c"), "a <code>&lt;b&gt;</code> &amp; c");
    }
}
