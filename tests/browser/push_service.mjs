// A push service and the browser behind it, in one: `node push_service.mjs CERTIFICATE KEY`. It prints, a line of JSON
// each, the subscription of its browser, then every message that came: its headers, and what the browser reads in it.
// Everything is checked and opened with Node's ciphers (OpenSSL), by RFC 8030, 8188, 8291 and 8292; what is not right is
// answered with 400 and printed as {"error": …}.
//
// The line `answer STATUS` on its input changes what it answers.

import { createDecipheriv, createECDH, createPublicKey, hkdfSync, randomBytes, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

/** A browser: its keys, and how it opens what was sealed for it. */
export function browser() {
  const key = createECDH("prime256v1");
  const point = key.generateKeys();
  const auth = randomBytes(16);
  const derive = (secret, salt, info, length) => Buffer.from(hkdfSync("sha256", secret, salt, info, length));
  return {
    keys: { p256dh: point.toString("base64url"), auth: auth.toString("base64url") },
    open(body) {
      // RFC 8188 §2.1.
      const [salt, size, length] = [body.subarray(0, 16), body.readUInt32BE(16), body[20]];
      const sender = body.subarray(21, 21 + length);
      const record = body.subarray(21 + length);
      if (length !== 65 || record.length > size || body.length > 4096) throw new Error("not one record");
      // RFC 8291 §3.4.
      const info = Buffer.concat([Buffer.from("WebPush: info\0"), point, sender]);
      const input = derive(key.computeSecret(sender), auth, info, 32);
      const cipher = createDecipheriv(
        "aes-128-gcm",
        derive(input, salt, "Content-Encoding: aes128gcm\0", 16),
        derive(input, salt, "Content-Encoding: nonce\0", 12),
      );
      cipher.setAuthTag(record.subarray(-16));
      const plain = Buffer.concat([cipher.update(record.subarray(0, -16)), cipher.final()]);
      const end = plain.findLastIndex((byte) => byte !== 0);
      if (plain[end] !== 2) throw new Error("no last record");
      return plain.subarray(0, end).toString("utf8");
    },
  };
}

/** RFC 8292 §2 and §3: the claims of a request, if they are signed with the key it names. */
function claims(authorization) {
  const [, token, key] = /^vapid t=([^,]+), k=([\w-]+)$/.exec(authorization) ?? [];
  if (!token) throw new Error(`no VAPID: ${authorization}`);
  const [header, body, signature] = token.split(".");
  const point = Buffer.from(key, "base64url");
  const jwk = { kty: "EC", crv: "P-256", x: point.subarray(1, 33).toString("base64url"), y: point.subarray(33).toString("base64url") };
  const good = verify(
    "sha256",
    Buffer.from(`${header}.${body}`),
    { key: createPublicKey({ key: jwk, format: "jwk" }), dsaEncoding: "ieee-p1363" },
    Buffer.from(signature, "base64url"),
  );
  if (!good) throw new Error("the token is not signed with the key");
  const read = JSON.parse(Buffer.from(body, "base64url"));
  const left = read.exp - Date.now() / 1000;
  if (left <= 0 || left > 24 * 3600) throw new Error(`the token ends in ${left} s`);
  return { ...read, key };
}

/** Starts the service; `told` hears of every message. */
export async function serve(certificate, key, told) {
  const reader = browser();
  let status = 201;
  const options = { cert: readFileSync(certificate), key: readFileSync(key) };
  const server = createServer(options, (request, response) => {
    const pieces = [];
    request.on("data", (piece) => pieces.push(piece));
    request.on("end", () => {
      let answer = status;
      try {
        const { authorization, ttl, urgency, topic } = request.headers;
        const said = { path: request.url, ttl, urgency, topic, claims: claims(authorization) };
        if (request.method !== "POST" || request.headers["content-encoding"] !== "aes128gcm") throw new Error("no push");
        if (said.claims.aud !== `https://localhost:${server.address().port}`) throw new Error("meant for another service");
        told({ ...said, status, content: JSON.parse(reader.open(Buffer.concat(pieces))) });
      } catch (error) {
        answer = 400;
        told({ error: String(error) });
      }
      response.writeHead(answer).end();
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    subscription: { endpoint: `https://localhost:${server.address().port}/push/0123`, keys: reader.keys },
    answer: (wanted) => (status = wanted),
    close: () => server.close(),
  };
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const print = (value) => console.log(JSON.stringify(value));
  const service = await serve(process.argv[2], process.argv[3], print);
  print({ subscription: service.subscription });
  for await (const line of createInterface({ input: process.stdin })) {
    service.answer(Number(line.split(" ")[1]));
  }
}
