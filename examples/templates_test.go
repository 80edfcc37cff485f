package examples

import (
	"bytes"
	"os"
	"testing"
)

// What `plugin new` writes in Go is the example, byte for byte.
func TestTemplates(t *testing.T) {
	for _, name := range []string{"main.go", "main_test.go", "plugin.yaml", "workflow.yaml"} {
		want, err := os.ReadFile("plugin-go/" + name)
		got, e := Plugins.ReadFile("templates/go/" + name + ".txt")
		if err != nil || e != nil || !bytes.Equal(got, want) {
			t.Errorf("templates/go/%s.txt is not plugin-go/%s (%v, %v): copy it", name, name, err, e)
		}
	}
}
