'use strict';
// score is an example of a plugin in Node: its one action scores a contact by its tags and fields.

const { done, skip, fail, setField, serve } = require('./reprieve');

// lead decides one item: call.params are checked by then, call.target is the contact of the run.
function lead(call) {
  const { tags = {}, fields = {}, into = 'score' } = call.params;
  if (call.target.state !== 'live') return skip('the contact is not live');
  if (Object.keys(tags).length + Object.keys(fields).length === 0) {
    return fail('no_weights', 'there is nothing to score by', 'give the step weights under tags or fields');
  }
  const contact = call.target.contact;
  const has = new Set(contact.tags.map((tag) => tag.trim().toLowerCase()));
  let score = 0;
  for (const [tag, weight] of Object.entries(tags)) {
    if (has.has(tag.trim().toLowerCase())) score += weight;
  }
  for (const [name, weight] of Object.entries(fields)) {
    const value = contact.fields[name];
    if (typeof value === 'number' || typeof value === 'boolean') score += weight * Number(value);
  }
  score = Math.round(score * 100) / 100;
  if (contact.fields[into] === score) return skip('the score is the same');
  return done([setField(0, into, score)], { score });
}

const weights = (description) => ({ type: 'object', description, additionalProperties: { type: 'number' } });

const action = {
  name: 'score.lead',
  summary: 'Score the contact by its tags and fields, and keep the score in a field.',
  reads: ['tags', 'fields'],
  effects: ['field.set'],
  params: {
    properties: {
      tags: weights('what each tag counts, in any spelling'),
      fields: weights('what each field counts: a number as often as it says, true once'),
      into: { type: 'string', description: 'the field that gets the score; score if missing' },
    },
  },
  run: lead,
};

module.exports = { action };

if (require.main === module) serve('score', '1.0.0', [action]);
