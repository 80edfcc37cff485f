package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/reprieve-run/reprieve/runtime"
)

// secretsKey is where the settings file keeps the secrets of accounts, beside the settings of actions.
const secretsKey = "secrets"

// maxSecret bounds a secret, in bytes.
const maxSecret = 16 << 10

// readSettings reads what the operator has set, by the name of an action or a plugin; nil if nothing is. No
// workflow can change it, and no error repeats what stands there.
func readSettings(file string) (map[string]map[string]any, error) {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read", settingsFile)
	}
	if info.Mode().Perm()&0o077 != 0 { // it holds secrets
		return nil, fmt.Errorf("others than its owner may read or change %s; chmod 600", settingsFile)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read", settingsFile)
	}
	var all map[string]map[string]any
	if yaml.Unmarshal(raw, &all) != nil { // whose words would repeat a secret
		return nil, fmt.Errorf("%s is no YAML mapping of names to mappings", settingsFile)
	}
	return all, nil
}

// settings reads what the operator has set for an action or a plugin. It is read at each start of a process, so
// that a change counts from then on.
func settings(file string) func(plugin string) ([]byte, error) {
	return func(plugin string) ([]byte, error) {
		if plugin == "reprieve" || plugin == secretsKey {
			return nil, nil // those that only decide have none, and a wrong file does not stop them
		}
		all, err := readSettings(file)
		if err != nil || all[plugin] == nil {
			return nil, err
		}
		return json.Marshal(all[plugin])
	}
}

// secrets reads an account's secret from the settings file: a text, or env:NAME or file:PATH for one that is kept
// elsewhere. It is read for each batch of calls, so that a new one counts at once.
func secrets(file string) runtime.Secrets {
	return func(account, name string) (string, error) {
		all, err := readSettings(file)
		if err != nil {
			return "", err
		}
		of, _ := all[secretsKey][account].(map[string]any)
		text, ok := of[name].(string)
		if !ok {
			return "", fmt.Errorf("%s has no secret %q for the account", settingsFile, name)
		}
		if env, is := strings.CutPrefix(text, "env:"); is {
			text = os.Getenv(env)
		} else if path, is := strings.CutPrefix(text, "file:"); is {
			if text, err = readSecret(filepath.Join(filepath.Dir(file), path), path); err != nil {
				return "", err
			}
		}
		if text == "" {
			return "", fmt.Errorf("the secret %q of %s is empty where it is kept", name, settingsFile)
		}
		return text, nil
	}
}

// readSecret reads a file that holds nothing but a secret; a path that begins with / is taken as it is.
func readSecret(joined, path string) (string, error) {
	if filepath.IsAbs(path) {
		joined = path
	}
	f, err := os.Open(joined)
	if err != nil {
		return "", fmt.Errorf("the file of a secret of %s cannot be opened", settingsFile)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil || len(raw) > maxSecret {
		return "", fmt.Errorf("the file of a secret of %s cannot be read, or is over 16 KiB", settingsFile)
	}
	return strings.TrimRight(string(raw), "\r\n"), nil
}
