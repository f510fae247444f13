package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/covol/covol/dlm/tcp"
	"github.com/covol/covol/ondisk"
)

type versionInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Format   int    `json:"format"`   // of volumes
	Protocol int    `json:"protocol"` // of lock messages
}

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "version", Short: "Show what this binary is", Example: "  covol version --json", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := versionOf()
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), v)
			}
			text := "covol " + v.Version
			if v.Commit != "" {
				text += " commit " + v.Commit
			}
			if v.Modified {
				text += " (modified)"
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\nvolume format %d, lock protocol %d, %s, %s\n", text, v.Format, v.Protocol, v.Go, v.Platform)
			return err
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}

func versionOf() versionInfo {
	v := versionInfo{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Format: int(ondisk.Version), Protocol: tcp.Version}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}
