'use strict';
// A plugin that does what its parameter says, well or badly: what the protocol's Node side is tried with.

const fs = require('node:fs');
const { done, skip, retry, fail, effect, setField, serve } = require('./reprieve');

function echo(call) {
  const { target: t, params: { text } } = call;
  const c = t.contact;
  return done([effect('add_tag', 0, { tag: text }), setField(0, 'seen', ['a', text])], {
    text, email: c.email, tags: c.tags, fields: c.fields, dnd: c.dnd, state: t.state, epoch: Number(t.epoch), key: call.key,
    attempt: call.attempt, now: call.now.getTime() / 1000, dry: call.dryRun, run: call.run.id, deleted_by: t.tombstone?.by || '' });
}

// write puts all of it onto a pipe that may be full.
function write(fd, bytes) {
  for (let at = 0; at < bytes.length;) {
    try {
      at += fs.writeSync(fd, bytes, at);
    } catch (e) {
      if (e.code !== 'EAGAIN') throw e;
    }
  }
}

function noise() {
  console.log('printed by the plugin');
  write(1, Buffer.from(`${'x'.repeat(1 << 20)}\n`));
  write(2, Buffer.concat([Buffer.from(`{"@message": 5}\n${'y'.repeat(1 << 20)}`), Buffer.from([0xff, 10])]));
  return done();
}

const modes = {
  echo,
  noise,
  asleep: async () => {
    await new Promise((resolve) => { setTimeout(resolve, 250); });
    return done();
  },
  raise: () => { throw new RangeError('canary@example.com'); },
  skip: () => skip('nothing to do'),
  retry: () => retry(1.5, 'later'),
  fail: () => fail('no_such_thing', 'it is not there', 'look elsewhere'),
  pid: () => done([], process.pid),
  env: () => done([], Object.keys(process.env).sort()),
  big: () => done([], 'x'.repeat(60000)),
  'too big': () => done([], 'x'.repeat(70000)),
  'not text': () => skip('\ud800'),
  nothing: () => undefined,
  undeclared: () => done([effect('purge_contact', 0)]),
  'no such target': () => done([effect('add_tag', 7, { tag: 'x' })]),
};

console.log('printed before the handshake');
serve('probe', '0.1.0', [{
  name: 'probe.do', summary: 'Does what it is told.', run: (call) => modes[call.params.mode](call),
  reads: ['email', 'tags', 'fields', 'dnd', 'tombstone'], effects: ['tag.add', 'field.set'], timeout: 4,
  params: { required: ['mode'], properties: {
    mode: { type: 'string', enum: Object.keys(modes) }, text: { type: 'string' }, n: { type: 'integer' },
    list: { type: 'array', items: { type: 'number' } },
    map: { type: 'object', additionalProperties: { type: 'boolean' } } } },
}], {
  configure: (config) => {
    if (config.refuse) throw new Error('it is set to refuse');
  },
});
