//go:build faults

package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/covol/covol/ondisk/blockdev/faultdev"
)

// faultsEnv names the socket at which a node built with the tag faults takes fault rules.
//
// A connection sends one command and is answered with one line. The first line of the command says which path it is
// for: data, beat (heartbeats and views) or all; the rest are rules of faultdev, none to lift them. The command look
// changes nothing. The answer is "ok", and for each path: strikes so far, operations that wait now.
const faultsEnv = "COVOL_FAULTS"

// faulty is what a node's paths can be made to suffer.
type faulty struct {
	data, beat *faultdev.Device
	log        *slog.Logger
}

// faultPaths puts fault rules right before the device: nothing behind them queues, so what hangs never lands.
func faultPaths(data, beat device, log *slog.Logger) (disk, disk, error) {
	path := os.Getenv(faultsEnv)
	if path == "" {
		return data, beat, nil
	}
	f := &faulty{data: faultdev.New(data, nil), beat: faultdev.New(beat, nil), log: log}
	_ = os.Remove(path) // of the life before
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", faultsEnv, err)
	}
	log.Warn("this build lets the disk fail on command", "socket", path)
	go f.serve(ln)
	return f.data.As().(disk), f.beat.As().(disk), nil
}

func (f *faulty) serve(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			command, err := io.ReadAll(io.LimitReader(c, 1<<16))
			if err == nil {
				err = f.do(string(command))
			}
			if err != nil {
				_, _ = fmt.Fprintln(c, "error:", err)
				return
			}
			_, _ = fmt.Fprintf(c, "ok data %d %d beat %d %d\n", f.data.Strikes(), f.data.Waiting(), f.beat.Strikes(), f.beat.Waiting())
		}()
	}
}

func (f *faulty) do(command string) error {
	path, text, _ := strings.Cut(command, "\n")
	if path == "look" {
		return nil
	}
	rules, err := faultdev.Parse(text)
	if err != nil {
		return err
	}
	f.log.Warn("fault rules", "path", path, "rules", rules.String())
	switch path {
	case "data":
		f.data.Set(rules)
	case "beat":
		f.beat.Set(rules)
	case "all":
		f.data.Set(rules)
		f.beat.Set(rules)
	default:
		return fmt.Errorf("no path %q", path)
	}
	return nil
}
