'use strict';
// What a plugin in Node needs to speak to Reprieve, protocol 1: docs/plugin-protocol.md, in code.
//
// Copy it into your plugin together with action.proto. It needs the packages @grpc/grpc-js and @grpc/proto-loader,
// but only to serve: without them an action can still be tested.

const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { setImmediate: pause } = require('node:timers/promises');

const COOKIE = ['REPRIEVE_PLUGIN', 'reprieve.action.v1'];
const PARENT = process.ppid;
const HOSTED = process.env[COOKIE[0]] === COOKIE[1];
const MAX_RECEIVE = 16 << 20; // what a plugin must be able to receive, in bytes
const MAX_OUTPUT = 64 << 10;
const MAX_OUTCOME = 512 << 10;
const REPLY_ROOM = (4 << 20) - MAX_OUTCOME - (256 << 10); // of a reply, until the rest is handed back

// Only the handshake may be on stdout: whatever else is printed goes to the log.
if (HOSTED) process.stdout.write = process.stderr.write.bind(process.stderr);

// What an action gives back: one of these. Texts hold no personal data, they are kept in journals.

// done: decided. The host commits all effects in their order, or none. Later steps see the output.
const done = (effects = [], output = undefined) => ({ done: { effects, output } });
// skip: nothing was to be done.
const skip = (reason) => ({ skip: { reason } });
// retry: to be tried again, not before so many seconds have passed.
const retry = (after, reason) => ({ retry: { after, reason } });
// fail: trying again would not help. A code is up to 64 of a-z, 0-9, dot and underscore.
const fail = (code, message, hint = '') => ({ fail: { code, message, hint } });

// effect makes any effect: its kind and members are called as in the protocol, effect('add_tag', 0, { tag: 'VIP' }).
const effect = (kind, target, members = {}) => ({ [kind]: { target, ...members } });
// setField sets a field to a string, a number, a boolean, a Date or an array of strings; null removes it.
const setField = (target, name, value) => effect('set_field', target, { name, value: wireValue(value) });

// newCall makes what an action gets: { params, targets, target, key, attempt, now, dryRun, run, cancelled() }. A test
// names what it needs.
function newCall(members) {
  const targets = (members.targets || []).map((t) => ({ id: '', state: 'live', epoch: '0', ...t, contact: {
    createdAt: null, email: '', phone: '', externalId: '', tags: [], lists: [], fields: {}, dnd: {}, ...t.contact } }));
  return { params: {}, key: '', attempt: 1, now: null, dryRun: false, run: {}, cancelled: () => false, ...members,
    targets, target: targets[0] || { state: '', contact: { tags: [], lists: [], fields: {}, dnd: {} } } };
}

// log writes a line to the host's log: debug, info, warn or error. Put no personal data in it.
function log(level, message, fields = {}) {
  const line = { '@level': level, '@message': message, '@timestamp': new Date().toISOString(), ...fields };
  process.stderr.write(`${JSON.stringify(line)}\n`);
}

const schemaOf = (action) => ({ $schema: 'https://json-schema.org/draft/2020-12/schema', type: 'object', properties: {},
  additionalProperties: false, ...action.params });

// decide runs one item. Bad parameters never reach the action, and an exception fails that item and no other.
async function decide(action, call) {
  const wrong = flaw(schemaOf(action), call.params, 'params');
  if (wrong) return fail('invalid_params', wrong);
  try {
    return await action.run(call);
  } catch (e) { // its text may hold anything, a contact too: only its kind and where it was thrown are told
    const kind = e instanceof Error ? e.constructor.name : typeof e;
    const stack = String(e?.stack).split('\n').filter((l) => /^ {4}at /.test(l)).map((l) => l.trim());
    log('error', 'the action threw an exception', { kind, stack });
    return fail('panic', `the action threw ${kind}`, "the plugin's log has the stack");
  }
}

function typeOf(v) {
  if (v === null) return 'null';
  return Array.isArray(v) ? 'array' : typeof v;
}

// flaw holds a value against the part of JSON Schema that parameters need, and says what is wrong, without values.
function flaw(schema, value, where) {
  const fits = { integer: Number.isInteger(value) }[schema.type] ?? typeOf(value) === schema.type;
  if (schema.type && !fits) return `${where} is not of the type ${schema.type}`;
  if (schema.enum && !schema.enum.includes(value)) return `${where} is not one of ${JSON.stringify(schema.enum)}`;
  let wrong = '';
  if (Array.isArray(value) && schema.items) {
    value.some((v, i) => (wrong = flaw(schema.items, v, `${where}[${i}]`)));
  } else if (typeOf(value) === 'object') {
    const known = schema.properties || {};
    const missing = (schema.required || []).find((name) => !Object.hasOwn(value, name));
    if (missing !== undefined) return `${where} lacks ${missing}`;
    Object.entries(value).some(([name, v]) => {
      const more = Object.hasOwn(known, name) ? known[name] : schema.additionalProperties;
      wrong = more === false ? `${where} has a name that the schema does not`
        : typeof more === 'object' ? flaw(more, v, `${where}.${Object.hasOwn(known, name) ? name : '*'}`) : '';
      return wrong;
    });
  }
  return wrong;
}

// The wire. 64-bit integers are strings there.

const instant = (nanos) => (nanos === '0' ? null : new Date(Number(BigInt(nanos) / 1000000n)));

function wireValue(v) {
  if (v === null || v === undefined) return {};
  if (typeof v === 'boolean') return { bool: v };
  if (typeof v === 'number') return { number: v };
  if (v instanceof Date) return { instant: String(BigInt(v.getTime()) * 1000000n) };
  return Array.isArray(v) ? { list: { items: v } } : { text: v };
}

function plainValue(v) {
  if (v?.kind === 'instant') return instant(v.instant);
  return v?.kind === 'list' ? v.list.items : v?.kind ? v[v.kind] : null;
}

function plainTarget(w) {
  const c = w.contact || { created_at: '0', tags: [], lists: [], fields: [], dnd: [] };
  return {
    id: w.contact_id, state: w.state.replace('STATE_', '').toLowerCase(), epoch: w.epoch, tombstone: w.tombstone,
    contact: {
      createdAt: instant(c.created_at), email: c.email || '', phone: c.phone || '', externalId: c.external_id || '', tags: c.tags,
      lists: c.lists.map((m) => ({ list: m.list_id, status: m.status, since: instant(m.since) })),
      fields: Object.fromEntries(c.fields.map((f) => [f.name, plainValue(f.value)])),
      dnd: Object.fromEntries(c.dnd.map((d) => [d.name, d.on])),
    },
  };
}

// wireOutcome gives an action's answer as it is sent.
function wireOutcome(answer) {
  if (answer?.done) {
    const { effects, output } = answer.done;
    const json = output === undefined ? '' : JSON.stringify(output);
    return { done: { effects, output_json: Buffer.from(json) } };
  }
  if (answer?.retry) {
    return { retry: { after_nanos: String(Math.round(answer.retry.after * 1e9)), reason: answer.retry.reason } };
  }
  return answer?.skip || answer?.fail ? answer : fail('bad_outcome', 'the action gave no answer');
}

// wellFormed says whether all text can be written as UTF-8.
function wellFormed(v) {
  if (typeof v === 'string') return v.isWellFormed();
  return typeof v !== 'object' || v === null || Buffer.isBuffer(v) || Object.values(v).every(wellFormed);
}

// The service.

class Plugin {
  constructor(service, name, version, actions, configure) {
    Object.assign(this, { service, name, version, configure });
    this.actions = new Map([...actions].sort((a, b) => (a.name < b.name ? -1 : 1)).map((a) => [a.name, a]));
  }

  describe() {
    return { name: this.name, version: this.version, actions: [...this.actions.values()].map((a) => ({
      action: a.name, summary: a.summary, params_schema_json: Buffer.from(JSON.stringify(schemaOf(a))),
      reads: [...(a.reads || [])].sort(), effects: [...(a.effects || [])].sort(), external: a.external, idempotent: a.idempotent,
      network: [...(a.network || [])].sort(), timeout_nanos: String(Math.round((a.timeout || 0) * 1e9)),
    })) };
  }

  // execute decides the items in order. What there is no time or no room for is handed back unrun.
  async execute(request, call) {
    const action = this.actions.get(request.action);
    if (!action) throw refusal('NOT_FOUND', 'there is no such action in this plugin');
    const began = Date.now();
    const until = Number(call.getDeadline()); // Infinity without one
    const outcomes = [];
    let size = 0;
    for (const item of request.items) {
      await pause(); // a call that is cancelled and other calls are heard in between
      if (call.cancelled) throw refusal('CANCELLED', 'the host has given up');
      const late = Date.now() - began > until - Date.now();
      let outcome;
      if (outcomes.length > 0 && (late || size > REPLY_ROOM)) {
        const reason = late ? 'the call left no time for it' : 'the reply is full';
        outcome = { retry: { after_nanos: '0', unrun: true, reason } };
      } else {
        outcome = await this.answer(action, request, item, call);
      }
      outcome.idempotency_key = item.idempotency_key;
      size += this.size(outcome);
      outcomes.push(outcome);
    }
    return { outcomes };
  }

  size(outcome) {
    return this.service.Execute.responseSerialize({ outcomes: [outcome] }).length;
  }

  // answer decides one item. One outcome that cannot be sent must not cost the whole batch its reply.
  async answer(action, request, item, call) {
    let params;
    try {
      params = JSON.parse(item.params_json.length ? item.params_json.toString() : '{}');
    } catch {
      return fail('invalid_params', 'params is no JSON');
    }
    const answer = await decide(action, newCall({
      params, targets: item.targets.map(plainTarget), key: item.idempotency_key, attempt: item.attempt,
      now: instant(request.now), dryRun: request.dry_run, run: item.run, cancelled: () => call.cancelled,
    }));
    try {
      const outcome = wireOutcome(answer);
      if (!wellFormed(outcome)) return fail('bad_outcome', "the action's answer holds text that is not UTF-8");
      if (this.size(outcome) > MAX_OUTCOME || outcome.done?.output_json.length > MAX_OUTPUT) {
        return fail('too_large', 'the outcome is too large');
      }
      return outcome;
    } catch {
      return fail('bad_outcome', "the action's answer cannot be sent");
    }
  }

  set(request) {
    try {
      this.configure?.(JSON.parse(request.config_json.length ? request.config_json.toString() : '{}'));
    } catch (e) { // its text is for the operator
      throw refusal('FAILED_PRECONDITION', e.message);
    }
    return {};
  }
}

const refusal = (code, details) => Object.assign(new Error(details), { grpc: code, details });

// certificate makes this process's own certificate, which the handshake tells the host: X.509, signed by itself.
function certificate() {
  const der = (tag, ...parts) => {
    const body = Buffer.concat(parts.map((p) => Buffer.from(p)));
    const n = body.length;
    const size = n < 128 ? [n] : n < 256 ? [0x81, n] : [0x82, n >> 8, n & 255];
    return Buffer.concat([Buffer.from([tag, ...size]), body]);
  };
  const sequence = (...parts) => der(0x30, ...parts);
  const oid = (hex) => der(0x06, Buffer.from(hex, 'hex'));
  const time = (ms) => der(0x18, new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, ''));
  const { privateKey, publicKey } = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const ecdsa = sequence(oid('2a8648ce3d040302')); // with SHA-256
  const name = sequence(der(0x31, sequence(oid('550403'), der(0x0c, 'localhost'))));
  const serial = crypto.randomBytes(16);
  serial[0] = (serial[0] & 0x3f) | 0x40;
  const extensions = sequence(
    sequence(oid('551d11'), der(0x04, sequence(der(0x82, 'localhost')))), // the name that the host asks for
    sequence(oid('551d13'), der(0x01, [0xff]), der(0x04, sequence(der(0x01, [0xff])))), // it is its own authority
  );
  const body = sequence(der(0xa0, der(0x02, [2])), der(0x02, serial), ecdsa, name,
    sequence(time(Date.now() - 60e3), time(Date.now() + 3650 * 86400e3)), name,
    publicKey.export({ type: 'spki', format: 'der' }), der(0xa3, extensions));
  const raw = sequence(body, ecdsa, der(0x03, [0], crypto.sign('sha256', body, privateKey)));
  const text = raw.toString('base64').replace(/.{64}/g, '$&\n');
  return {
    raw, cert: Buffer.from(`-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`),
    key: Buffer.from(privateKey.export({ type: 'pkcs8', format: 'pem' })),
  };
}

function introduce(name, version, actions) {
  console.error(`${name} ${version} is a plugin of Reprieve, protocol 1. The host starts it, not you:\n`
    + 'run `reprieve plugin install FOLDER`. Its actions:');
  for (const a of actions) {
    console.error(`\n${a.name}  ${a.summary}\n  reads:   ${a.reads}\n  effects: ${a.effects}`);
    console.error(`  params:  ${JSON.stringify(a.params)}`);
  }
}

// serve runs the plugin until the host ends it. configure gets what the operator has set for the plugin, an object; its
// error keeps the plugin from starting, and the operator reads its text.
function serve(name, version, actions, { configure } = {}) {
  if (!HOSTED) {
    introduce(name, version, actions);
    process.exit(2);
  }
  // A host that was killed leaves its plugins running.
  setInterval(() => process.ppid === PARENT || process.exit(3), 1000);
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => process.exit(0));
  let grpc, loader;
  try {
    grpc = require('@grpc/grpc-js');
    loader = require('@grpc/proto-loader');
  } catch (e) {
    log('error', 'a package is missing: run `npm ci` in the folder and install it again', { code: e.code });
    process.exit(1);
  }
  const protocol = loader.loadSync(path.join(__dirname, 'action.proto'),
    { keepCase: true, longs: String, enums: String, defaults: true, arrays: true, oneofs: true });
  const { service } = grpc.loadPackageDefinition(protocol).reprieve.action.v1.ActionPlugin;
  const plugin = new Plugin(service, name, version, actions, configure);
  const unary = (run) => (call, reply) => Promise.resolve().then(() => run(call.request, call)).then(
    (answer) => reply(null, answer),
    (e) => reply({ code: grpc.status[e.grpc || 'INTERNAL'], details: e.grpc ? e.details : 'the plugin failed' }));
  const server = new grpc.Server({ 'grpc.max_receive_message_length': MAX_RECEIVE });
  server.addService(service, {
    Describe: unary(() => plugin.describe()),
    Configure: unary((request) => plugin.set(request)),
    Execute: unary((request, call) => plugin.execute(request, call)),
  });
  // The two small services of go-plugin, with messages as bytes: SERVING, whatever is asked for, and an empty one.
  const raw = (of) => ({ path: of, requestStream: false, responseStream: false, requestSerialize: (b) => b,
    requestDeserialize: (b) => b, responseSerialize: (b) => b, responseDeserialize: (b) => b });
  server.addService({ Check: raw('/grpc.health.v1.Health/Check') }, { Check: (_, reply) => reply(null, Buffer.from([8, 1])) });
  server.addService({ Shutdown: raw('/plugin.GRPCController/Shutdown') }, { Shutdown: (_, reply) => {
    reply(null, Buffer.alloc(0));
    setTimeout(() => process.exit(0), 100);
  } });
  const socket = path.join(process.env.PLUGIN_UNIX_SOCKET_DIR, `plugin${crypto.randomBytes(6).toString('hex')}`);
  const { raw: mine, cert, key } = certificate();
  const credentials = grpc.ServerCredentials.createSsl(Buffer.from(process.env.PLUGIN_CLIENT_CERT),
    [{ private_key: key, cert_chain: cert }], true);
  server.bindAsync(`unix:${socket}`, credentials, (e) => {
    if (e) {
      log('error', 'the socket cannot be made', { code: e.code });
      process.exit(1);
    }
    fs.writeSync(1, `1|1|unix|${socket}|grpc|${mine.toString('base64').replace(/=+$/, '')}\n`);
  });
}

module.exports = { done, skip, retry, fail, effect, setField, newCall, decide, log, serve };
