package plugins

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/internal/pluginlog"
)

// docs/plugin-protocol.md says what this host does: its bounds, and the codes that it gives.
func TestProtocolDocument(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/plugin-protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, said := range []string{
		fmt.Sprintf("The line has at most %d KiB", handshakeMax>>10),
		fmt.Sprintf("At most %d actions, and %d KiB for a schema", maxActions, maxSchema>>10),
		fmt.Sprintf("%.0f s if none, at most %.0f minutes", defaultTimeout.Seconds(), maxTimeout.Minutes()),
		fmt.Sprintf("after %.0f s without a call, before the next batch, and has %.0f s", idleAfter.Seconds(), healthTime.Seconds()),
		fmt.Sprintf("at most %d files and %d GiB", maxFiles, maxFolder>>30),
		fmt.Sprintf("A line is cut at %d KiB, and of a minute %d MiB", pluginlog.MaxLine>>10, pluginlog.MaxMinute>>20),
		fmt.Sprintf("have up to %d bytes, titles %d, bodies and values %d KiB", maxName, maxTitle, maxValue>>10),
		fmt.Sprintf("%d GiB of memory that it can write to, %d open files, files of %d MiB, and %d processes", defaultMemory>>30, maxOpenFiles, maxFileSize>>20, maxProcesses),
		fmt.Sprintf("every %.0f s", backoff(maxDeaths).Seconds()),
	} {
		if !strings.Contains(string(text), said) {
			t.Errorf("the document does not say %q", said)
		}
	}
	for _, code := range []string{CodeTooLarge, CodeProtocol, CodeUndeclared, CodeBadTarget, CodeDeadTarget, CodeBadEffect, CodeBadOutput, CodeManyEffects, CodeNoResult} {
		if !strings.Contains(string(text), "| `"+code+"` |") {
			t.Errorf("the document does not explain the code %s", code)
		}
	}
}
