//go:build !linux

package plugins

func serveRefused(string) { panic("for Linux only") }

func namespaces() bool { return false }
