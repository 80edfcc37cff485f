package plugins

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// manifestFile is what a plugin's folder must hold; maxManifest bounds it, in bytes.
const (
	manifestFile = "plugin.yaml"
	maxManifest  = 64 << 10
)

// anywhere is the platform of a command that is the same everywhere.
const anywhere = "any"

// here is the platform of this process, as a manifest spells it.
const here = goruntime.GOOS + "/" + goruntime.GOARCH

var (
	versionName  = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._+-]{0,63}$`) // also the name of a folder
	platformName = regexp.MustCompile(`^[a-z0-9]{1,20}/[a-z0-9]{1,20}$`)
)

// Manifest is what is known of one version of an installed plugin: its plugin.yaml, and what was found
// when it was installed. The second part lives in plugins.lock and is what each start is held to.
type Manifest struct {
	Name        string   `json:"name" yaml:"name"`
	Version     string   `json:"version" yaml:"version"`
	Description string   `json:"description,omitempty" yaml:"description"`
	Protocol    int      `json:"protocol" yaml:"protocol"`
	Command     Command  `json:"command" yaml:"command"`
	Args        []string `json:"args,omitempty" yaml:"args"`
	Interpreter string   `json:"-" yaml:"interpreter"` // of a script: a name or an absolute path, and flags

	Trusted bool              `json:"trusted" yaml:"-"` // an admin knows what it may do, and it may be current
	SHA256  map[string]string `json:"sha256" yaml:"-"`  // of the binaries, by platform as in Command
	Files   map[string]string `json:"files" yaml:"-"`   // sha256 of each file below the folder
	Actions []Spec            `json:"actions" yaml:"-"` // what each may do
	Runs    Interpreter       `json:"interpreter,omitzero" yaml:"-"`
}

// Command is the binary below the plugin's folder, by platform ("linux/amd64"); "any" stands for all
// that are not named. In plugin.yaml it may be one path.
type Command map[string]string

// UnmarshalYAML implements yaml.Unmarshaler.
func (c *Command) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		var path string
		if err := n.Decode(&path); err != nil {
			return err
		}
		*c = Command{anywhere: path}
		return nil
	}
	var paths map[string]string
	if err := n.Decode(&paths); err != nil {
		return err
	}
	*c = paths
	return nil
}

// on gives the binary for a platform, as a slash-separated path; "" if there is none.
func (c Command) on(platform string) string {
	path, ok := c[platform]
	if !ok {
		path, ok = c[anywhere]
	}
	if !ok {
		return ""
	}
	return filepath.ToSlash(filepath.Clean(path))
}

// flaw says what is wrong with the command, "" if nothing is.
func (c Command) flaw() string {
	for _, platform := range slices.Sorted(maps.Keys(c)) {
		path := c[platform]
		switch {
		case platform != anywhere && !platformName.MatchString(platform):
			return "its command names a platform that is no os/arch"
		case path == "" || !filepath.IsLocal(path) || filepath.Clean(path) == "." || path != clean(path):
			return "its command is not a path inside its folder"
		}
	}
	if len(c) == 0 {
		return "it has no command"
	}
	return ""
}

// nowhere is what is wrong with a plugin that has no binary for this machine.
func (c Command) nowhere() error {
	return fmt.Errorf("it has no binary for %s; it has some for %s", here, strings.Join(slices.Sorted(maps.Keys(c)), ", "))
}

// image says what to execute of a version whose files lie in a folder.
func (m Manifest) image(folder string) image {
	return image{argv: m.Args, folder: folder, file: m.Command.on(here), files: m.Files, runs: m.Runs,
		agrees: func() error { return m.agrees(folder) }}
}

// Network says whether an action of the plugin has declared a host to talk to. One that has not gets no
// network where the host can keep it away.
func (m Manifest) Network() bool { return talks(m.Actions) }

func talks(specs []Spec) bool {
	return slices.ContainsFunc(specs, func(s Spec) bool { return len(s.Network) > 0 })
}

// agrees compares what the lock file says with the plugin.yaml that was installed. It comes after the
// file's sum was compared, so a difference is one of the lock file.
func (m Manifest) agrees(folder string) error {
	is, err := readManifest(folder)
	if err != nil {
		return err
	}
	for _, d := range []struct {
		what, lock, file string
	}{
		{"name", m.Name, is.Name}, {"version", m.Version, is.Version}, {"description", m.Description, is.Description},
		{"protocol", fmt.Sprint(m.Protocol), fmt.Sprint(is.Protocol)},
		{"command", fmt.Sprint(m.Command), fmt.Sprint(is.Command)}, {"args", fmt.Sprintf("%q", m.Args), fmt.Sprintf("%q", is.Args)},
		{"interpreter", m.Runs.words(is.Interpreter), strings.Join(strings.Fields(is.Interpreter), " ")},
	} {
		if d.lock != d.file {
			return tampered(m, fmt.Sprintf("plugins.lock has the %s %s and its %s has %s", d.what, clean(d.lock), manifestFile, clean(d.file)))
		}
	}
	all := map[string]string{}
	maps.Copy(all, m.SHA256)
	for platform := range m.Command {
		all[platform] = ""
	}
	for _, platform := range slices.Sorted(maps.Keys(all)) {
		if m.Command[platform] == "" || m.SHA256[platform] == "" || m.SHA256[platform] != m.Files[m.Command.on(platform)] {
			return tampered(m, "plugins.lock has another sum for the binary of "+clean(platform))
		}
	}
	return nil
}

func readManifest(folder string) (m Manifest, err error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return m, err
	}
	defer root.Close()
	f, err := root.Open(manifestFile)
	if err != nil {
		return m, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return m, err
	}
	return parseManifest(text)
}

// parseManifest reads plugin.yaml: one document, no name that it does not know.
func parseManifest(text []byte) (m Manifest, err error) {
	if len(text) > maxManifest {
		return m, fmt.Errorf("%s is over 64 KiB", manifestFile)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&m); err != nil {
		return Manifest{}, fmt.Errorf("%s: %w", manifestFile, err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return Manifest{}, fmt.Errorf("%s holds a second document", manifestFile)
	}
	m.Description = clean(m.Description)
	return m, nil
}

// admissible says whether a plugin may be here: its name is free, and its actions lie below its
// name, so that no two plugins can ever claim the same one.
func (h *Host) admissible(m Manifest) error {
	switch {
	case !pluginName.MatchString(m.Name):
		return errors.New("a name is lower-case letters, digits and _")
	case !versionName.MatchString(m.Version):
		return errors.New("a version is up to 64 letters, digits, dots and + _ -, and begins with a letter or a digit")
	case m.Protocol != actionv1.ProtocolVersion:
		return fmt.Errorf("it speaks protocol %d and this host speaks %d", m.Protocol, actionv1.ProtocolVersion)
	case m.Command.flaw() != "":
		return errors.New(m.Command.flaw())
	}
	for _, b := range append([]string{builtinGroup}, strings.Split(strings.Join(h.o.BuiltinNames, ","), ",")...) {
		if first, _, _ := strings.Cut(b, "."); first == m.Name {
			return fmt.Errorf("the name %s is taken by built-in actions", m.Name)
		}
	}
	for _, a := range m.Actions {
		if !strings.HasPrefix(a.Action, m.Name+".") {
			return fmt.Errorf("its action %s does not begin with %s.", a.Action, m.Name)
		}
	}
	return nil
}

// actionNames gives the names of actions, sorted.
func actionNames(specs []Spec) []string {
	var names []string
	for _, s := range specs {
		names = append(names, s.Action)
	}
	slices.Sort(names)
	return names
}
