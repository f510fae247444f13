package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func newTargetStatus() *cobra.Command {
	var portal string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "status", Short: "Who is logged in at a target of this host", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := askTarget(cmd.Context(), portal)
			if err != nil {
				return hint(err, "Is a target served there? Give its address with --portal.")
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), r)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s at %s, pid %d, %d sessions\n", r.Name, r.Portal, r.PID, len(r.Sessions))
			if len(r.Sessions) == 0 {
				return nil
			}
			t := newTable(cmd.OutOrStdout(), "INITIATOR", "ISID", "FROM", "RUNNING", "COMMANDS", "READ", "WRITTEN", "DIGESTS")
			for _, s := range r.Sessions {
				t.row(s.Initiator, s.ISID, s.From, strconv.Itoa(s.Running), strconv.FormatUint(s.Commands, 10), bytesText(int64(s.Read)), bytesText(int64(s.Written)), s.Digests)
			}
			return t.flush()
		},
	}
	cmd.Flags().StringVar(&portal, "portal", defaultPortal, "address of the target")
	addJSON(cmd, &asJSON)
	return cmd
}

func askTarget(ctx context.Context, portal string) (*targetReport, error) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", targetSocket(portal))
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://target/", nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("target at %s: %w", portal, err)
	}
	defer resp.Body.Close()
	var r targetReport
	return &r, json.NewDecoder(resp.Body).Decode(&r)
}
