package sim

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// keptEvents is how many events a failure shows without a trace.
const keptEvents = 60

// event notes what happens to hosts and nodes.
func (w *World) event(format string, args ...any) {
	line := fmt.Sprintf("%12v  "+format, append([]any{w.s.Now()}, args...)...)
	if w.trace != nil {
		fmt.Fprintln(w.trace, line)
	}
	w.recent = append(w.recent, line)
	if len(w.recent) > keptEvents {
		w.recent = w.recent[1:]
	}
}

// detail notes what only a trace shows.
func (w *World) detail(format string, args ...any) {
	if w.trace != nil {
		fmt.Fprintf(w.trace, "%12v    "+format+"\n", append([]any{w.s.Now()}, args...)...)
	}
}

// logger passes what nodes log on to the trace.
func (w *World) logger(p *process) slog.Handler {
	if w.trace == nil {
		return slog.DiscardHandler
	}
	return traceLog{w, p}
}

type traceLog struct {
	w *World
	p *process
}

func (t traceLog) Enabled(context.Context, slog.Level) bool { return true }
func (t traceLog) WithAttrs([]slog.Attr) slog.Handler       { return t }
func (t traceLog) WithGroup(string) slog.Handler            { return t }

func (t traceLog) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		return true
	})
	if t.p.clock.dead {
		return nil
	}
	t.w.detail("%v | %s%s", t.p, r.Message, b.String())
	return nil
}
