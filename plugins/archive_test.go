package plugins

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// entryOf is one entry of a crafted archive.
type entryOf struct {
	name string
	body string
	flag byte // of a tar; 0 is a file
	mode int64
	link string
}

func tarOf(t testing.TB, entries ...entryOf) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: e.mode, Typeflag: e.flag, Linkname: e.link, Size: int64(len(e.body))}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	_ = w.Close()
	_ = z.Close()
	return b.Bytes()
}

func zipOf(t testing.TB, entries ...entryOf) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		mode := fs.FileMode(e.mode & 0o777)
		switch {
		case e.flag == tar.TypeSymlink:
			mode |= fs.ModeSymlink
		case e.flag == tar.TypeFifo:
			mode |= fs.ModeNamedPipe
		case e.flag == tar.TypeDir:
			mode |= fs.ModeDir
		}
		if e.mode&0o4000 != 0 {
			mode |= fs.ModeSetuid
		}
		h.SetMode(mode)
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(e.body + e.link)); err != nil && e.flag != tar.TypeDir {
			t.Fatal(err)
		}
	}
	_ = w.Close()
	return b.Bytes()
}

var small = bounds{bytes: 1000, files: 5}

// unpacked unpacks an archive into a fresh folder beside a file that nothing may touch, and says what there is.
func unpacked(t testing.TB, name string, raw []byte) (string, error) {
	t.Helper()
	dir := t.TempDir()
	into, from := filepath.Join(dir, "a", "b", "into"), filepath.Join(dir, name)
	if err := os.MkdirAll(into, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(from, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	err := unpack(into, from, small)
	var all []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, _ error) error {
		rel, _ := filepath.Rel(into, path)
		switch info, _ := d.Info(); {
		case path == from || d.IsDir():
		case strings.HasPrefix(rel, ".."):
			t.Errorf("%s was written outside", rel)
		case !info.Mode().IsRegular() || info.Mode().Perm() != 0o700:
			t.Errorf("%s has the mode %s", rel, info.Mode())
		default:
			all = append(all, filepath.ToSlash(rel))
		}
		return nil
	})
	return strings.Join(all, " "), err
}

func TestArchives(t *testing.T) {
	t.Parallel()
	good := []entryOf{{name: "x/", flag: tar.TypeDir, mode: 0o755}, {name: "x/plugin.yaml", body: "a", mode: 0o644}, {name: "./x/bin/acme", body: "b", mode: 0o777}}
	for name, raw := range map[string][]byte{"a.tar.gz": tarOf(t, good...), "a.TGZ": tarOf(t, good...), "a.zip": zipOf(t, good...)} {
		if all, err := unpacked(t, name, raw); err != nil || all != "x/bin/acme x/plugin.yaml" {
			t.Errorf("%s: %q, %v", name, all, err)
		}
	}
	file := func(name string) []entryOf { return []entryOf{{name: name, body: "x"}} }
	tests := []struct {
		name    string
		entries []entryOf
		why     string
		noZip   bool
	}{
		{"up", file("../x"), "inside", false},
		{"up from below", file("a/../../x"), "inside", false},
		{"absolute", file("/etc/x"), "inside", false},
		{"a drive", file(`c:\x`), "", false},
		{"a backslash", file(`..\x`), "", false},
		{"a dot", file("a/./b"), "inside", false},
		{"two slashes", file("a//b"), "inside", false},
		{"a newline", file("a\nb"), "character", false},
		{"no UTF-8", file("a\xff"), "", false},
		{"an order of reading", file("a\u202egpj.exe"), "character", false},
		{"a long part", file(strings.Repeat("x", maxPart+1)), "too long", false},
		{"a long path", file(strings.Repeat("x/", maxPath/2) + "x"), "too long", true},
		{"a symlink", []entryOf{{name: "x", flag: tar.TypeSymlink, link: "/etc/passwd"}}, "neither", false},
		{"through a symlink", []entryOf{{name: "d", flag: tar.TypeSymlink, link: "/tmp"}, {name: "d/x", body: "x"}}, "neither", false},
		{"a hard link", []entryOf{{name: "x", flag: tar.TypeLink, link: "/etc/passwd"}}, "neither", true},
		{"a device", []entryOf{{name: "x", flag: tar.TypeChar}}, "neither", true},
		{"a block device", []entryOf{{name: "x", flag: tar.TypeBlock}}, "neither", true},
		{"a pipe", []entryOf{{name: "x", flag: tar.TypeFifo}}, "neither", false},
		{"setuid", []entryOf{{name: "x", body: "x", mode: 0o4755}}, "somebody else", false},
		{"setgid", []entryOf{{name: "x", body: "x", mode: 0o2755}}, "somebody else", true},
		{"twice", append(file("x"), file("x")...), "twice", false},
		{"two spellings", append(file("x"), file("X")...), "upper and lower", false},
		{"two spellings of a folder", append(file("lib/a"), file("LIB/b")...), "upper and lower", false},
		{"a Kelvin sign", append(file("k"), file("\u212a")...), "upper and lower", false},
		{"a file and a folder", append(file("x"), file("x/y")...), "twice", false},
		{"a folder and a file", append(file("x/y"), file("x")...), "twice", false},
		{"too much", []entryOf{{name: "x", body: strings.Repeat("x", 600)}, {name: "y", body: strings.Repeat("x", 600)}}, "more than", false},
		{"one too large", []entryOf{{name: "x", body: strings.Repeat("\x00", 1<<20)}}, "", false},
		{"too many", append(append(append(append(append(file("1"), file("2")...), file("3")...), file("4")...), file("5")...), file("6")...), "more files", false},
	}
	for _, tt := range tests {
		archives := map[string][]byte{"a.tar.gz": tarOf(t, tt.entries...)}
		if !tt.noZip {
			archives["a.zip"] = zipOf(t, tt.entries...)
		}
		for name, raw := range archives {
			if all, err := unpacked(t, name, raw); err == nil || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("%s, %s: %q, %v", tt.name, name, all, err)
			}
		}
	}
	for name, raw := range map[string][]byte{"a.tar": tarOf(t, good...), "b.tar.gz": []byte("hello"), "b.zip": []byte("hello"), "c.tar.gz": tarOf(t, good...)[:60],
		"d.zip": make([]byte, small.bytes+1)} {
		if all, err := unpacked(t, name, raw); err == nil {
			t.Errorf("%s: %q", name, all)
		}
	}
}

// An install from an archive is one from a folder, and a bad archive leaves nothing.
func TestInstallArchive(t *testing.T) {
	t.Parallel()
	plugins := filepath.Join(t.TempDir(), "plugins")
	h, _ := newHost(t, Options{Dir: plugins})
	folder := fake{Version: "1.0.0"}.folder(t)
	var entries []entryOf
	_ = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			body, _ := os.ReadFile(path)
			rel, _ := filepath.Rel(folder, path)
			entries = append(entries, entryOf{name: "acme-1.0.0/" + rel, body: string(body), mode: 0o755})
		}
		return err
	})
	archive := filepath.Join(t.TempDir(), "acme.tar.gz")
	put(t, archive, tarOf(t, append([]entryOf{{name: "../x", body: "x"}}, entries...)...))
	if _, err := h.Install(archive); err == nil {
		t.Error("a hostile archive was installed")
	}
	if left, _ := os.ReadDir(plugins); len(left) != 0 {
		t.Errorf("it left %v", left)
	}
	put(t, archive, tarOf(t, entries...))
	if in, err := h.Install(archive); err != nil || !in.Current || len(in.Files) != 2 {
		t.Fatalf("%+v, %v", in, err)
	}
	if v, _ := answers(t, h); v != "1.0.0" {
		t.Errorf("%s answers", v)
	}
}

// Whatever the bytes are, nothing is written outside and nothing beyond the bounds.
func FuzzArchive(f *testing.F) {
	good := []entryOf{{name: "plugin.yaml", body: "a", mode: 0o644}, {name: "../x", body: "b"}}
	f.Add(tarOf(f, good...), false)
	f.Add(zipOf(f, good...), true)
	f.Fuzz(func(t *testing.T, raw []byte, zipped bool) {
		name := "a.tar.gz"
		if zipped {
			name = "a.zip"
		}
		all, _ := unpacked(t, name, raw)
		if n := len(strings.Fields(all)); n > small.files {
			t.Errorf("%d files", n)
		}
	})
}
