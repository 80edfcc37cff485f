// Package workflow is the YAML format of workflow files: it parses a file, checks it, and says what is
// wrong with it, every mistake in one pass, each under its very token.
//
// A workflow that Parse returned is complete and immutable: its expressions are compiled, its steps
// are flattened into one slice whose links are the control flow, and its revision is the hash of its
// source. Parse knows nothing of which actions exist; Check holds the file against a catalogue.
//
// It must never read a file, a clock or the network, run an expression while parsing, accept a key
// that nothing honours, or let a later part of a file that is wrong be taken for a shorter one that is
// right: either the whole source is a workflow or none of it is.
package workflow
