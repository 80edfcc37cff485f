package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An account's secrets come from the operator's file, which nobody else may read; what is wrong is said without
// a word of what stands there.
func TestSecretSettings(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, settingsFile)
	read := secrets(file)
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	const good = "secrets:\n  main: {plain: hush1, env: 'env:REPRIEVE_TEST_SECRET', file: 'file:kept', empty: 'env:REPRIEVE_TEST_NONE', gone: 'file:none', number: 17}\n  other: {plain: hush5}\ncsv.export: {dir: /x}\n"
	t.Setenv("REPRIEVE_TEST_SECRET", "hush2")
	write("kept", "hush3\n", 0o600)
	check := func(account, name, want string) {
		t.Helper()
		got, err := read(account, name)
		if got != want || (err == nil) != (want != "") || err != nil && (strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), dir)) {
			t.Errorf("%s %s: %q, %v", account, name, got, err)
		}
	}
	check("main", "plain", "") // there is no file
	write(settingsFile, good, 0o600)
	for name, want := range map[string]string{"plain": "hush1", "env": "hush2", "file": "hush3", "empty": "", "gone": "", "number": "", "unknown": ""} {
		check("main", name, want)
	}
	check("other", "plain", "hush5")
	check("other", "env", "")
	check("third", "plain", "")
	write(settingsFile, good, 0o640)
	check("main", "plain", "")
	write(settingsFile, "secrets: {main: hush4}\n", 0o600)
	check("main", "plain", "")
	if b, err := settings(file)(secretsKey); b != nil || err != nil {
		t.Errorf("a plugin that is called so is given them: %s, %v", b, err)
	}
}
