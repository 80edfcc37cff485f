package plugins

import (
	"errors"
	"path/filepath"
	"slices"

	"github.com/reprieve-run/reprieve/crm"
)

// Trial says what the plugin in a folder is and how it would be started, for a look at it before it is installed.
// Nothing is pinned by that: what is started is what lies there at that moment, with the rights of whoever looks.
func Trial(folder string) (m Manifest, argv []string, err error) {
	m, argv, err = trial(folder)
	if err != nil {
		err = crm.Errorf("read a plugin's folder", crm.CodeInvalid, "%w", err).
			WithHint("a plugin is a folder with %s (name, version, protocol, command) and what the command needs", manifestFile)
	}
	return m, argv, err
}

func trial(folder string) (m Manifest, argv []string, err error) {
	if m, err = readManifest(folder); err != nil {
		return m, nil, err
	}
	if flaw := m.Command.flaw(); flaw != "" {
		return m, nil, errors.New(flaw)
	}
	file := m.Command.on(here)
	if file == "" {
		return m, nil, m.Command.nowhere()
	}
	if m.Interpreter == "" {
		path, err := filepath.Abs(filepath.Join(folder, filepath.FromSlash(file)))
		return m, append([]string{path}, m.Args...), err
	}
	in, err := findInterpreter(m.Interpreter)
	if err != nil {
		return m, nil, err
	}
	return m, slices.Concat([]string{in.Path}, in.Args, []string{"./" + file}, m.Args), nil
}
