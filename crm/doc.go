// Package crm is the domain in plain words: contacts and their facts, records, links, lives,
// manifests, receipts, mutations, events, runs, policy and errors.
//
// It holds the two rules that keep a restore from starting anything, Event.Trigger and
// Contact.Selectable, and it is the only package that can make what those rules hand out.
//
// It imports the standard library only, does no input or output, reads no clock and draws no
// randomness of its own: instants and readers of random bytes are parameters. No struct here that
// is stored holds a time.Time, an any or an interface: what is stored must decode to exactly what
// was encoded, on every version to come.
package crm
