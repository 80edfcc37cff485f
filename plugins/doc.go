// Package plugins is the plugin host: it starts action plugins as separate processes, sends them
// batches and hands back what they ask for.
//
// A plugin decides and the host commits: nothing here changes a contact. The host sends a plugin
// only the facts that it declared to read, accepts only the effects that it declared, holds it to
// its timeout, restarts it when it dies, and runs third-party code only while it is byte for byte
// what was installed.
//
// It must never trust what a plugin says or writes (its handshake, its replies, its log lines),
// never give it an environment, a file or a socket of the host, and never wait for it without an
// end. It opens no network connection and listens on none: plugins are reached over unix sockets in
// a private directory.
package plugins
