package plugins

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/reprieve-run/reprieve/crm"
)

// image is what a plugin's process executes.
type image struct {
	argv []string // built in: as it is. Third party: the arguments after the name.
	// The rest is for third parties.
	folder string            // its working directory
	file   string            // the binary, below folder
	files  map[string]string // every file below folder, by its sum in hex
	runs   Interpreter       // of a script
	agrees func() error      // whether what is known of the folder besides is what stands in it; nil: nothing is
}

// command makes the command to start. The environment is exactly env: go-plugin's few variables. A
// third party's binary is executed from a copy that was hashed, and is refused when any file of its
// folder is not what was installed.
func (im image) command(env []string, private string) (*exec.Cmd, func(), error) {
	if im.folder == "" {
		cmd := exec.Command(im.argv[0], im.argv[1:]...)
		cmd.Env, cmd.Dir = env, "/"
		return cmd, func() {}, cmd.Err
	}
	if err := im.unchanged(); err != nil {
		return nil, nil, err
	}
	if im.agrees != nil {
		if err := im.agrees(); err != nil {
			return nil, nil, err
		}
	}
	if im.runs.Path != "" {
		cmd, err := im.runs.command(im.file, im.argv)
		if err != nil {
			return nil, nil, err
		}
		cmd.Env, cmd.Dir = env, im.folder
		return cmd, func() {}, cmd.Err
	}
	root, err := os.OpenRoot(im.folder)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	f, err := root.Open(im.file)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	cmd := exec.Command(im.file, im.argv...)
	cmd.Err = nil // the name is looked up nowhere: verified sets the path
	cmd.Env, cmd.Dir = env, im.folder
	sum, release, err := verified(cmd, f, private)
	if err != nil {
		return nil, nil, err
	}
	if hex.EncodeToString(sum[:]) != im.files[im.file] {
		release()
		return nil, nil, changed(im.file)
	}
	return cmd, release, nil
}

// unchanged compares the folder with what was installed, file by file and in both directions: a
// file that was added can change what a script loads.
func (im image) unchanged() error {
	now, err := sums(im.folder)
	if err != nil {
		return err
	}
	all := maps.Clone(now)
	maps.Copy(all, im.files)
	for _, name := range slices.Sorted(maps.Keys(all)) { // so that it is always the first difference that is named
		is, there := now[name]
		was, known := im.files[name]
		switch {
		case !there:
			return missing(name)
		case !known:
			return added(name)
		case is != was:
			return changed(name)
		}
	}
	return nil
}

func missing(name string) error {
	return crm.Errorf("start a plugin", crm.CodeDenied, "%q was installed and is gone", name).
		WithHint("put it back, or run `reprieve plugin install FOLDER` again")
}

func added(name string) error {
	return crm.Errorf("start a plugin", crm.CodeDenied, "%q is not what was installed: it was added", name).
		WithHint("take it away, or look at it and run `reprieve plugin install FOLDER` again")
}

func changed(name string) error {
	return crm.Errorf("start a plugin", crm.CodeDenied, "%q is not what was installed", name).
		WithHint("if the change is wanted, look at it and run `reprieve plugin install FOLDER` again")
}

// sums hashes all files of a folder. Anything but folders and regular files is an error.
func sums(folder string) (map[string]string, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	out := map[string]string{}
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%q is neither a file nor a folder", path)
		}
		f, err := root.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		out[path] = hex.EncodeToString(h.Sum(nil))
		return nil
	})
	return out, err
}

// The bounds of what is installed.
const (
	maxFolder = 1 << 30 // bytes
	maxFiles  = 10_000
)

// copyFolder copies a folder's files with modes of our own: nobody but the owner can write.
func copyFolder(to, from string) error {
	root, err := os.OpenRoot(from)
	if err != nil {
		return err
	}
	defer root.Close()
	var size int64
	var count int
	seen := names{}
	return fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path != "." {
			if err := seen.add(path, d.IsDir()); err != nil {
				return err
			}
		}
		target := filepath.Join(to, filepath.FromSlash(path))
		if d.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%q is neither a file nor a folder", path)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if size, count = size+info.Size(), count+1; size > maxFolder || count > maxFiles {
			return errors.New("the folder is over 1 GiB or 10000 files")
		}
		data, err := root.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o700)
	})
}

// writeAtomic replaces a file as a whole, or not at all.
func writeAtomic(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".lock-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = io.Copy(f, bytes.NewReader(data))
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}
