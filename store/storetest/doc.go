// Package storetest is what an engine of the store must pass, and a hostile one to test the store on.
//
// Conformance checks every sentence of the contract in package row. Memory is an engine that keeps
// to the letter of that contract and to nothing more, so that a caller who relies on more is found
// out.
//
// It is for tests of this module only: no product code imports it, and it must never be kinder than
// the contract.
package storetest
