// Package imports holds the repository to its layers: what a package may import, who may use which
// library, that each says what it is for, and that no file outgrows a head.
//
// It is a test and nothing else. It must never be imported, and the table in it must never be widened
// without a decision in docs/adr.
package imports
