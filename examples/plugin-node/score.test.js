'use strict';
// An action is a plain function: neither a host nor gRPC is needed to test it.  node --test

const test = require('node:test');
const assert = require('node:assert');
const { decide, newCall, done, skip, setField } = require('./reprieve');
const { action } = require('./score');

const score = (params, contact, state = 'live') => decide(action, newCall({ params, targets: [{ state, contact }] }));

test('tags and fields count', async () => {
  const params = { tags: { VIP: 50, 'Größe': 5, other: 1000 }, fields: { employees: 0.1, trial: -3, plan: 7 } };
  const contact = { tags: [' vip', 'größe'], fields: { employees: 120, trial: true, plan: 'gold', score: 1 } };
  assert.deepStrictEqual(await score(params, contact), done([setField(0, 'score', 64)], { score: 64 }));
  assert.deepStrictEqual(await score({ ...params, into: 'heat' }, contact), done([setField(0, 'heat', 64)], { score: 64 }));
});

test('nothing to do', async () => {
  assert.deepStrictEqual(await score({ tags: { a: 2 } }, { tags: ['a'], fields: { score: 2 } }), skip('the score is the same'));
  assert.deepStrictEqual(await score({ tags: { a: 2 } }, {}, 'deleted'), skip('the contact is not live'));
  assert.strictEqual((await score({}, {})).fail.code, 'no_weights');
});

test('bad parameters', async () => {
  for (const params of [{ tags: { a: 'much' } }, { into: 5 }, { tag: {} }, { tags: [] }, []]) {
    assert.strictEqual((await score(params, {})).fail.code, 'invalid_params');
  }
});
