// Package server is the one set of handlers that every face of Reprieve uses: the command line in
// process or over the unix socket today, HTTP later. A verb gets a request and an actor and gives an
// answer; what it may do is decided by the store, what it shows is decided here.
//
// It must never decide a rule of the lifecycle, never show a deleted contact to a verb that did not
// ask for deleted ones, never put personal data into a log line or an error, and never serve a peer
// whose credentials it has not seen.
package server
