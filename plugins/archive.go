package plugins

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/reprieve-run/reprieve/crm"
)

// bounds are how much of an archive is unpacked before it is refused.
type bounds struct {
	bytes int64
	files int
}

// unpack writes the files of a .tar.gz or .zip into a directory that is empty. The archive is not believed:
// a name that leads elsewhere or could be taken for another one, anything but a file or a folder, and what
// unpacks to more than the bounds, refuse all of it. Sizes are counted as they come, not as they are said.
func unpack(into, from string, b bounds) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > b.bytes {
		return errors.New("it is no file, or a larger one than a plugin may be")
	}
	u := &unpacker{into: into, left: b, names: names{}}
	switch low := strings.ToLower(from); {
	case strings.HasSuffix(low, ".tar.gz"), strings.HasSuffix(low, ".tgz"):
		return u.tar(f)
	case strings.HasSuffix(low, ".zip"):
		return u.zip(f, info.Size())
	}
	return errors.New("it is neither a folder nor a .tar.gz or .zip")
}

type unpacker struct {
	into  string
	left  bounds
	names names
}

func (u *unpacker) tar(f io.Reader) error {
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	// What the headers hold is bounded too: long names and attributes are read into memory.
	r := tar.NewReader(io.LimitReader(z, u.left.bytes+int64(u.left.files+2)*4<<10))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeXGlobalHeader: // git's archives begin with one; it is no file
		case tar.TypeReg, tar.TypeDir:
			if err := u.entry(h.Name, h.Typeflag == tar.TypeDir, h.FileInfo().Mode(), r); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%q is neither a file nor a folder", clean(h.Name))
		}
	}
}

func (u *unpacker) zip(f io.ReaderAt, size int64) error {
	z, err := zip.NewReader(f, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return err
	}
	for _, e := range z.File {
		mode := e.Mode()
		if !mode.IsRegular() && !mode.IsDir() {
			return fmt.Errorf("%q is neither a file nor a folder", clean(e.Name))
		}
		if e.Flags&1 != 0 {
			return fmt.Errorf("%q is encrypted", clean(e.Name))
		}
		r, err := e.Open()
		if err != nil {
			return err
		}
		err = u.entry(e.Name, mode.IsDir(), mode, r)
		if e := r.Close(); err == nil {
			err = e
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// entry writes one file or folder, with a mode of ours.
func (u *unpacker) entry(said string, dir bool, mode fs.FileMode, r io.Reader) error {
	if u.left.files--; u.left.files < 0 {
		return errors.New("it holds more files than a plugin may have")
	}
	name := strings.TrimPrefix(said, "./")
	if dir {
		name = strings.TrimSuffix(name, "/")
		if name == "" || name == "." {
			return nil
		}
	}
	if mode&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 {
		return fmt.Errorf("%q would run as somebody else", clean(said))
	}
	if err := u.names.add(name, dir); err != nil {
		return err
	}
	at := filepath.Join(u.into, filepath.FromSlash(name))
	if dir {
		return os.MkdirAll(at, 0o700)
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		return err
	}
	out, err := os.OpenFile(at, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
	if err != nil {
		return err
	}
	n, err := io.Copy(out, io.LimitReader(r, u.left.bytes+1))
	if e := out.Close(); err == nil {
		err = e
	}
	if u.left.bytes -= n; err == nil && u.left.bytes < 0 {
		err = errors.New("it unpacks to more than a plugin may be")
	}
	return err
}

// names are the paths of a plugin, to find two that some file system takes for one: by their folded form,
// each with its spelling and whether it is a folder.
type names map[string]struct {
	as  string
	dir bool
}

// maxPath bounds a path below a plugin's folder, and maxPart one of its parts, in bytes.
const (
	maxPath = 512
	maxPart = 200
)

// add takes a path, with the folders on the way to it.
func (n names) add(name string, dir bool) error {
	bad := func(why string) error { return fmt.Errorf("the path %q %s", clean(name), why) }
	switch {
	case !fs.ValidPath(name) || name == "." || !filepath.IsLocal(filepath.FromSlash(name)):
		return bad("does not lie inside the plugin's folder")
	case len(name) > maxPath:
		return bad("is too long")
	case !utf8.ValidString(name) || strings.ContainsAny(name, `\:`) || strings.IndexFunc(name, unicode.IsControl) >= 0 || name != clean(name):
		return bad("holds a character that paths of plugins must not have")
	}
	for at := name; at != "."; at = path.Dir(at) {
		folder := at != name || dir
		if len(path.Base(at)) > maxPart {
			return bad("is too long")
		}
		was, there := n[crm.Fold(at)]
		switch {
		case there && was.as != at:
			return bad("differs from another in upper and lower case alone")
		case there && (!was.dir || !folder):
			return bad("is there twice")
		}
		n[crm.Fold(at)] = struct {
			as  string
			dir bool
		}{at, folder}
	}
	return nil
}

// root gives the folder with plugin.yaml: what was unpacked into, or the one folder in it, as archives of a
// release have.
func root(into string) (string, error) {
	if _, err := os.Lstat(filepath.Join(into, manifestFile)); err == nil {
		return into, nil
	}
	entries, err := os.ReadDir(into)
	if err == nil && len(entries) == 1 && entries[0].IsDir() {
		return filepath.Join(into, entries[0].Name()), nil
	}
	if err == nil {
		err = fmt.Errorf("it holds no %s", manifestFile)
	}
	return "", err
}
