package serf

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
)

// logWriter turns the lines of serf and memberlist, which begin with [LEVEL], into records.
type logWriter struct{ log *slog.Logger }

func (w *logWriter) Write(p []byte) (int, error) {
	line := string(bytes.TrimSpace(p))
	level := slog.LevelInfo
	if rest, ok := strings.CutPrefix(line, "["); ok {
		name, text, found := strings.Cut(rest, "] ")
		if found {
			line = text
		}
		switch name {
		case "DEBUG", "TRACE", "INFO": // it tells much that is of no use to an operator
			level = slog.LevelDebug
		case "WARN", "ERR", "ERROR": // nothing of it harms the volume
			level = slog.LevelWarn
		}
	}
	w.log.Log(context.Background(), level, "gossip", "text", line)
	return len(p), nil
}
