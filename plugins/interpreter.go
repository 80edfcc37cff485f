package plugins

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
)

// Interpreter is what runs a plugin that is a script. It is looked up once, at the install, because a plugin
// is started without an environment and so without a PATH; each start is held to what was found then.
//
// What is pinned is the interpreter's own file, and the files of the plugin's folder. The libraries and
// packages that an interpreter loads from elsewhere on the machine are not. And while a binary is executed
// from sealed memory, a script is read by its path after it was compared: whoever can write to the plugin's
// folder could change it in between.
type Interpreter struct {
	Path   string   `json:"path"`           // absolute; a link is kept, for an interpreter may look beside it
	Args   []string `json:"args,omitempty"` // before the script
	SHA256 string   `json:"sha256"`         // of the file that the path leads to
}

// findInterpreter resolves what a plugin.yaml says: a name that is looked up in the host's PATH, or an
// absolute path, and flags after it, parted by spaces.
func findInterpreter(words string) (in Interpreter, err error) {
	if words == "" {
		return in, nil
	}
	parts := strings.Fields(words)
	if len(parts) == 0 || words != clean(words) {
		return in, fmt.Errorf("its interpreter has no proper name")
	}
	name := parts[0]
	if strings.ContainsRune(name, filepath.Separator) && (!filepath.IsAbs(name) || filepath.Clean(name) != name) {
		return in, fmt.Errorf("its interpreter %s is neither a name nor an absolute path", name)
	}
	if in.Path, err = exec.LookPath(name); err != nil {
		return in, fmt.Errorf("its interpreter %s is not installed where the host looks: %w", name, err)
	}
	if in.Path, err = filepath.Abs(in.Path); err != nil {
		return in, err
	}
	in.Args = parts[1:]
	in.SHA256, err = in.sum()
	return in, err
}

// words gives what the plugin.yaml must say, which has these words there now.
func (in Interpreter) words(there string) string {
	if in.Path == "" {
		return ""
	}
	name := in.Path
	if first := strings.Fields(there); len(first) > 0 && !filepath.IsAbs(first[0]) {
		name = filepath.Base(name)
	}
	return strings.Join(append([]string{name}, in.Args...), " ")
}

// sum hashes the file, which nobody but its owner may be able to write to.
func (in Interpreter) sum() (string, error) {
	f, err := os.Open(in.Path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o022 != 0 {
		return "", fmt.Errorf("the interpreter %s is no file, or others than its owner can write to it", in.Path)
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// command starts the script, which lies in the folder that the command is run in.
func (in Interpreter) command(script string, argv []string) (*exec.Cmd, error) {
	if now, err := in.sum(); err != nil || now != in.SHA256 {
		return nil, crm.Errorf("start a plugin", crm.CodeDenied, "its interpreter %s is not the one it was installed with", in.Path).
			WithHint("if that was an upgrade, run `reprieve plugin install FOLDER` again")
	}
	args := append(append([]string{}, in.Args...), "."+string(filepath.Separator)+filepath.FromSlash(script))
	return exec.Command(in.Path, append(args, argv...)...), nil
}
