// Follows events at /graphql with the client that most pages use: `node graphql.mjs '{"url": …, "count": …, "every": …}'`.
//
// It says "ready" with the cursor it begins at, tears its connection after `every` facts and comes back after the last
// one it had, until it has `count` of them. Each line it prints is JSON: {"ready"}, {"fact"}, {"alert"}, {"refused"}.

import { createClient } from "graphql-ws";
import WebSocket from "ws";

const { url, count, every, hostile } = JSON.parse(process.argv[2]);
const say = (line) => console.log(JSON.stringify(line));

/** A client that tries nothing again by itself: what it missed, it asks for. */
function connect(connected = () => {}) {
  return createClient({ url, webSocketImpl: WebSocket, lazy: false, retryAttempts: 0, on: { connected }, onNonLazyError: () => {} });
}

const FACTS = `subscription Facts($after: String) {
  events(after: $after, filter: { types: ["counted"] }) {
    ... on Event { cursor type data }
    ... on Gap { lost cursor }
  }
}`;
const ALARMS = "subscription { alerts { ... on ChangedAlert { cursor change alert { rule severity } } } }";

let cursor = await new Promise((resolve) => {
  const client = connect((_, payload) => {
    resolve(payload.cursor);
    client.dispose();
  });
});
const watching = connect();
const alarms = watching.iterate({ query: ALARMS });
const alarm = alarms.next();

for (const query of hostile) {
  try {
    for await (const _ of watching.iterate({ query })) say({ refused: null });
  } catch (error) {
    say({ refused: Array.isArray(error) ? error[0].extensions.code : String(error) });
  }
}
say({ ready: cursor });

let seen = 0;
while (seen < count) {
  const client = connect();
  try {
    for await (const { data, errors } of client.iterate({ query: FACTS, variables: { after: cursor } })) {
      cursor = data.events.cursor;
      say({ fact: data.events, errors });
      seen += 1;
      if (seen % every === 0 || seen === count) break;
    }
  } catch (error) {
    say({ torn: String(error) });
  }
  client.terminate();
}
const { value } = await alarm;
say({ alert: value.data.alerts });
watching.terminate();
process.exit(0);
