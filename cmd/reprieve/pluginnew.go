package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/actions"
	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/examples"
)

// scaffold is how a language's example becomes somebody's own plugin.
type scaffold struct {
	folder, suffix string            // in examples.Plugins; what its files' names lose
	names          map[string]string // old name: new one, where NAME is the plugin's
	words          []string          // old text, new text, in turn
	ignore         string
	next           []string // what to do then, in the folder
}

var scaffolds = map[string]scaffold{
	"go": {
		folder: "templates/go", suffix: ".txt",
		words:  []string{"acme.flag", "NAME.flag", `"acme"`, `"NAME"`, "name: acme", "name: NAME", "./acme", "./dist/NAME", "Command acme is an example of a plugin", "Command NAME is a plugin"},
		ignore: "/dist/\n",
		next:   []string{"go mod tidy", "go test .", "go build -trimpath -o dist/NAME ."},
	},
	"python": {
		folder: "plugin-python", names: map[string]string{"tidy.py": "NAME.py", "test_tidy.py": "test_NAME.py"},
		words: []string{"tidy.names", "NAME.names", "import tidy", "import NAME", "tidy.ACTION", "NAME.ACTION", `serve("tidy"`, `serve("NAME"`, "name: tidy", "name: NAME", "id: tidy-", "id: NAME-",
			"./tidy.py", "./NAME.py", "tidy is an example of a plugin", "NAME is a plugin"},
		ignore: "__pycache__/\n",
		next:   []string{"python3 -B -m unittest"},
	},
	"node": {
		folder: "plugin-node", names: map[string]string{"score.js": "NAME.js", "score.test.js": "NAME.test.js"},
		words: []string{"score.lead", "NAME.lead", "'./score'", "'./NAME'", "serve('score'", "serve('NAME'", `"name": "score"`, `"name": "NAME"`, "name: score", "name: NAME", "id: score-", "id: NAME-",
			`"score.js"`, `"NAME.js"`, "./score.js", "./NAME.js", "score is an example of a plugin", "NAME is a plugin"},
		ignore: "/node_modules/\n",
		next:   []string{"npm ci", "node --test"},
	},
}

func (c *cli) pluginNew() *cobra.Command {
	var lang, sdk string
	cmd := &cobra.Command{Use: "new NAME [DIR]", Short: "Write a new plugin: code, a test, plugin.yaml, a README", Args: cobra.RangeArgs(1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			s, ok := scaffolds[lang]
			if !ok {
				return usage{fmt.Errorf("--lang %s: it is go, python or node", lang)}
			}
			name, dir := args[0], args[0]
			if len(args) == 2 {
				dir = args[1]
			}
			files, err := s.files(lang, name, sdk)
			if err == nil {
				err = writeNew(dir, files)
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(c.err, "written to %s. Next:\n\n  cd %s\n", dir, dir)
			for _, n := range append(slices.Clone(s.next), "reprieve plugin test .", "reprieve plugin install .") {
				fmt.Fprintln(c.err, "  "+strings.ReplaceAll(n, "NAME", name))
			}
			t := table{{"file"}}
			for _, f := range sortedKeys(files) {
				t = append(t, []string{f})
			}
			return c.print(map[string]any{"name": name, "dir": dir, "files": sortedKeys(files)}, nil, t)
		}}
	cmd.Flags().StringVar(&lang, "lang", "go", "go, python or node")
	cmd.Flags().StringVar(&sdk, "sdk", "", "Go: build against a checkout of Reprieve instead of a released version")
	return cmd
}

var (
	newName  = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	imported = regexp.MustCompile(`(?m)^(?:import|from) (\w+)`)
)

// files gives the files of a new plugin by their names.
func (s scaffold) files(lang, name, sdk string) (map[string][]byte, error) {
	const op = "write a new plugin"
	if !newName.MatchString(name) {
		return nil, crm.Errorf(op, crm.CodeInvalid, "%q is no name: it is lower-case letters, digits and _, and begins with a letter", name)
	}
	for _, a := range append(actions.Names(), "reprieve.") {
		if first, _, _ := strings.Cut(a, "."); first == name {
			return nil, crm.Errorf(op, crm.CodeInvalid, "the name %s is taken by built-in actions", name).WithHint("name it after yourself or what it is for")
		}
	}
	var words []string
	for _, w := range s.words {
		words = append(words, strings.ReplaceAll(w, "NAME", name))
	}
	replace := strings.NewReplacer(words...)
	found, err := fs.ReadDir(examples.Plugins, s.folder)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{".gitignore": []byte(s.ignore), "README.md": s.readme(lang, name)}
	for _, e := range found {
		text, err := examples.Plugins.ReadFile(path.Join(s.folder, e.Name()))
		if err != nil {
			return nil, err
		}
		is := strings.TrimSuffix(e.Name(), s.suffix)
		for _, m := range imported.FindAllSubmatch(text, -1) {
			if string(m[1]) == name && strings.HasSuffix(is, ".py") {
				return nil, crm.Errorf(op, crm.CodeInvalid, "a module of Python is called %s already", name).WithHint("choose another name")
			}
		}
		if new, ok := s.names[is]; ok {
			is = strings.ReplaceAll(new, "NAME", name)
		}
		if is == "README.md" || is == ".gitignore" {
			continue // those are the example's
		}
		files[is] = []byte(replace.Replace(string(text)))
	}
	if lang == "go" {
		files["go.mod"] = goMod(name, sdk)
	}
	return files, nil
}

func goMod(name, sdk string) []byte {
	var b bytes.Buffer
	version, replace := "v0.0.0", ""
	if info, ok := debug.ReadBuildInfo(); ok && strings.HasPrefix(info.Main.Version, "v") && !strings.Contains(info.Main.Version, "+dirty") {
		version = info.Main.Version
	}
	if sdk != "" {
		version, replace = "v0.0.0", fmt.Sprintf("\nreplace github.com/reprieve-run/reprieve => %s\n", sdk)
	}
	fmt.Fprintf(&b, "module example.com/%s\n\ngo 1.26.0\n\nrequire github.com/reprieve-run/reprieve %s\n%s", name, version, replace)
	return b.Bytes()
}

func (s scaffold) readme(lang, name string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\nA plugin for Reprieve, made by `reprieve plugin new --lang %s %s`.\n\n```sh\n", name, lang, name)
	for _, n := range s.next {
		b.WriteString(strings.ReplaceAll(n, "NAME", name) + "\n")
	}
	b.WriteString("reprieve plugin test .      # does it keep what the protocol promises?\nreprieve plugin install .   # pins what lies here now\n```\n\n" +
		"While you write it, on a data directory without anybody's data: `reprieve plugin dev . --yes-this-is-development`.\n")
	return []byte(b.String())
}

// writeNew makes a folder, which must be new or empty.
func writeNew(dir string, files map[string][]byte) error {
	const op = "write a new plugin"
	if old, err := os.ReadDir(dir); err == nil && len(old) > 0 {
		return crm.Errorf(op, crm.CodeConflict, "%s is not empty", dir).WithHint("name another folder: reprieve plugin new NAME DIR")
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return crm.Errorf(op, crm.CodeFailed, "%w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return crm.Errorf(op, crm.CodeFailed, "%w", err)
	}
	for _, name := range sortedKeys(files) {
		if err := os.WriteFile(filepath.Join(dir, name), files[name], 0o644); err != nil {
			return crm.Errorf(op, crm.CodeFailed, "%w", err)
		}
	}
	return nil
}
