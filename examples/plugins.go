package examples

import "embed"

// Plugins holds what `reprieve plugin new` writes: plugin-python and plugin-node are those examples; the one in Go
// is a module of its own, of which nothing can be embedded, so that templates/go has copies, which a test compares.
//
//go:embed templates/go/*.txt plugin-python/*.* plugin-node/*.*
var Plugins embed.FS
