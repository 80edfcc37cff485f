package codec_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/store/internal/codec"
	"github.com/reprieve-run/reprieve/store/storetest"
)

var update = flag.Bool("update", false, "write the golden file")

// TestFormatIsWrittenDown compares the members of all stored structs with the list for this format.
// A change of the list needs a new format number as soon as a release has written the old one.
func TestFormatIsWrittenDown(t *testing.T) {
	var b strings.Builder
	for _, s := range storetest.Subjects() {
		fmt.Fprintf(&b, "%s\n", s.Name)
		describe(&b, t, reflect.TypeOf(s.New()).Elem(), "  ")
	}
	path := filepath.Join("testdata", fmt.Sprintf("format%d.golden", codec.Format))
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("a stored struct changed. If a release has written format %d, raise codec.Format; then run this test with -update and read the diff of %s", codec.Format, path)
	}
}

// describe lists members by key. A kind that does not decode to what was encoded is an error.
func describe(b *strings.Builder, t *testing.T, typ reflect.Type, indent string) {
	keys := map[string]bool{}
	for i := range typ.NumField() {
		f := typ.Field(i)
		key, rest, _ := strings.Cut(f.Tag.Get("cbor"), ",")
		if key == "-" {
			continue
		}
		if !strings.HasPrefix(rest, "keyasint") || keys[key] || !f.IsExported() {
			t.Errorf("%s.%s has no integer key of its own", typ, f.Name)
		}
		keys[key] = true
		of := f.Type
		for of.Kind() == reflect.Slice || of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		fmt.Fprintf(b, "%s%s %s\n", indent, key, kind(f.Type))
		switch of.Kind() {
		case reflect.Interface, reflect.Func, reflect.Chan:
			t.Errorf("%s.%s is a %s, which does not come back as it went", typ, f.Name, of.Kind())
		case reflect.Struct:
			if of.PkgPath() == "time" {
				t.Errorf("%s.%s is a time, which loses part of it", typ, f.Name)
			}
			describe(b, t, of, indent+"  ")
		}
	}
}

// kind names how a type is stored, whatever it is called.
func kind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Slice:
		return "[]" + kind(t.Elem())
	case reflect.Array:
		return fmt.Sprintf("[%d]%s", t.Len(), kind(t.Elem()))
	case reflect.Map:
		return "map[" + kind(t.Key()) + "]" + kind(t.Elem())
	case reflect.Pointer:
		return "*" + kind(t.Elem())
	}
	return t.Kind().String()
}
