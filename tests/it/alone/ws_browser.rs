//! A browser's own WebSocket: it agrees on compression and on a sub-protocol, hears of what happens, goes on after what
//! it saw last, and is told why it has to go.

use serde_json::json;

use crate::support::{browser::open, server::Server};

/// JavaScript to follow a WebSocket.
const FOLLOW: &str = r#"
const connect = (target, protocols) => {
  const socket = new WebSocket(location.origin.replace("http", "ws") + target, protocols);
  socket.binaryType = "arraybuffer";
  const waiting = [], come = [];
  const take = (message) => waiting.length ? waiting.shift()(message) : come.push(message);
  socket.onmessage = ({ data }) => take(typeof data === "string" ? JSON.parse(data) : new Uint8Array(data));
  socket.closed = new Promise((done) => {
    socket.onclose = ({ code, reason, wasClean }) => { take({ type: "closed" }); done({ code, reason, wasClean }); };
  });
  socket.next = () => come.length ? Promise.resolve(come.shift()) : new Promise((done) => waiting.push(done));
  socket.nextOf = async (type) => {
    for (;;) {
      const message = await socket.next();
      if (message.type === type) return message;
      if (message.type === "closed") throw new Error("closed while waiting for " + type);
    }
  };
  return socket;
};
const post = async (n) => {
  const body = JSON.stringify({ type: "knock", path: "demo", data: { n, words: "knock ".repeat(40) } });
  const answer = await fetch("/api/v1/events", { method: "POST", headers: { "content-type": "application/json" }, body });
  if (!answer.ok) throw new Error(answer.status + " " + await answer.text());
};
"#;

#[tokio::test]
async fn a_browser_hears_of_an_event_and_goes_on_where_it_was() {
    let server = Server::start(json!({ "paths": { "demo": { "source": "demo" } } })).await;
    let script = format!(
        "{FOLLOW}
         const first = connect('/ws/events');
         const connected = await first.nextOf('connected');
         first.send(JSON.stringify({{ type: 'subscribe', event_types: ['knock'] }}));
         while ((await first.nextOf('connection_status')).status !== 'subscribed');
         await post(1);
         const one = await first.nextOf('camera_event');
         first.close(1000, 'for a while');
         const left = await first.closed;
         await post(2);
         const second = connect('/ws/events?after=' + one.id, ['campanile.events.v1']);
         // The demo camera may come online between the two: an event like any other, and not what is asked about.
         let two = await second.nextOf('camera_event');
         while (two.data.kind !== 'knock') two = await second.nextOf('camera_event');
         second.send(JSON.stringify({{ type: 'command', command: 'trigger_doorbell', id: 'x' }}));
         const rung = await second.nextOf('command_result');
         const packed = connect('/ws/alerts', ['campanile.events.v1+msgpack']);
         const bytes = await packed.next();
         packed.send('x'.repeat(70000));
         const thrown = await packed.closed;
         return {{ connected, one, two, rung, left, thrown, bytes: bytes.length,
                  extensions: first.extensions, protocols: [first.protocol, second.protocol, packed.protocol] }};"
    );
    let page = open(&server.http("/demo/"), &script, 60).await;
    let seen = &page.result;
    assert_eq!((&seen["one"]["data"]["n"], &seen["two"]["data"]["n"]), (&json!(1), &json!(2)), "{seen:#}");
    assert_eq!((&seen["one"]["data"]["kind"], &seen["one"]["path"]), (&json!("knock"), &json!("demo")), "{seen:#}");
    assert!(seen["connected"]["cursor"].is_string(), "{seen:#}");
    assert_eq!((&seen["rung"]["success"], &seen["rung"]["id"]), (&json!(true), &json!("x")), "{seen:#}");
    assert!(seen["extensions"].as_str().unwrap().starts_with("permessage-deflate"), "{seen:#}");
    assert_eq!(seen["protocols"], json!(["", "campanile.events.v1", "campanile.events.v1+msgpack"]), "{seen:#}");
    assert!(seen["bytes"].as_u64() > Some(100), "MessagePack comes as bytes: {seen:#}");
    assert_eq!((&seen["left"]["code"], &seen["left"]["wasClean"]), (&json!(1000), &json!(true)), "{seen:#}");
    assert_eq!(seen["thrown"]["code"], 1009, "{seen:#}");
    assert!(page.strangers.is_empty(), "{:?}", page.strangers);
}
