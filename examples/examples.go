// Package examples carries the example data and workflows inside the binary, so that a demo needs no
// download. Each folder is one example; its README says what it shows.
//
// It holds data only: it must never hold a rule of the product, nor anything about a real person.
package examples

import "embed"

//go:generate go run ./demo/gen demo

// FS holds the demo: demo/contacts.csv, demo/associated.jsonl, demo/broken.csv, demo/README.md and
// demo/workflows/*.yaml.
//
//go:embed demo/contacts.csv demo/associated.jsonl demo/broken.csv demo/README.md demo/workflows/*.yaml
var FS embed.FS
