// Says who it is to /graphql by `connection_init`, with the client that most pages use, as pages do that can set no header
// on a WebSocket: `node graphql_login.mjs '{"url": …, "wrong": […], "tokens": […], "last": …}'`.
//
// With each of `wrong` it comes once and says what came of it. Then it follows events with the first of `tokens` and takes
// the next one whenever the client comes back by itself, until it has the fact of this number. Each line it prints is JSON:
// {"refused": code}, {"ready": how many tokens it took}, {"fact": number}.

import { createClient } from "graphql-ws";
import WebSocket from "ws";

const { url, wrong, tokens, last } = JSON.parse(process.argv[2]);
const say = (line) => console.log(JSON.stringify(line));
const EVENTS = `subscription { events(filter: { types: ["counted"] }) { ... on Event { cursor data } } }`;

for (const connectionParams of wrong) {
  const client = createClient({ url, webSocketImpl: WebSocket, connectionParams, retryAttempts: 0 });
  try {
    for await (const _ of client.iterate({ query: "{ __typename }" })) say({ refused: null });
  } catch (closed) {
    say({ refused: closed.code, reason: closed.reason });
  }
}

let taken = 0;
const client = createClient({
  url,
  webSocketImpl: WebSocket,
  connectionParams: () => ({ Authorization: `Bearer ${tokens[taken++]}` }),
  retryAttempts: 3,
  retryWait: () => new Promise((retry) => setTimeout(retry, 50)),
  on: { connected: () => say({ ready: taken }) },
});
for await (const { data } of client.iterate({ query: EVENTS })) {
  const { number } = data.events.data;
  say({ fact: number });
  if (number === last) break;
}
client.terminate();
process.exit(0);
