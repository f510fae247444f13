package main

import (
	"context"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/covol/covol/cluster"
)

// askTime bounds a question to one mount.
const askTime = 10 * time.Second

type statusOptions struct {
	asJSON bool
	out    io.Writer
}

func newStatus() *cobra.Command {
	o := &statusOptions{}
	cmd := &cobra.Command{
		Use:   "status [DIR]",
		Short: "Show nodes, states, and what is waited for",
		Long: `Show the mount on DIR: its volume, state and reason, the nodes of the cluster with the age of
their heartbeats, how a dead node is told, what is being waited for and for how long, and
counters. Without DIR all mounts of this host, one line each.`,
		Example: "  covol status\n  covol status /csv/volume1\n  covol status --json /csv/volume1",
		Args:    args(0, 1),
		RunE: func(cmd *cobra.Command, a []string) error {
			o.out = cmd.OutOrStdout()
			return o.run(cmd.Context(), a)
		},
	}
	addJSON(cmd, &o.asJSON)
	return cmd
}

func (o *statusOptions) run(ctx context.Context, a []string) error {
	if len(a) == 0 {
		return o.all(ctx)
	}
	c, err := clientFor(a[0])
	if err != nil {
		return err
	}
	r, err := c.timedStatus(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", a[0], err)
	}
	if o.asJSON {
		return writeJSON(o.out, r)
	}
	return r.print(o.out)
}

// timedStatus is status with a bound.
func (c *controlClient) timedStatus(ctx context.Context) (*statusReport, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return c.status(ctx)
}

// all lists the mounts of this host. JSON is a list of whole reports.
func (o *statusOptions) all(ctx context.Context) error {
	reports := []*statusReport{}
	for _, socket := range allControls() {
		if r, err := newClient(socket).timedStatus(ctx); err == nil {
			reports = append(reports, r)
		}
	}
	sort.Slice(reports, func(i, j int) bool { return reports[i].Dir < reports[j].Dir })
	if o.asJSON {
		return writeJSON(o.out, reports)
	}
	if len(reports) == 0 {
		_, err := fmt.Fprintln(o.out, "No volume is mounted on this host.")
		return err
	}
	return printSummary(o.out, reports)
}

// printSummary prints one line for each mount.
func printSummary(w io.Writer, reports []*statusReport) error {
	t := newTable(w, "DIR", "NODE", "STATE", "NODES", "EPOCH", "VOLUME", "DEVICE", "PID")
	for _, r := range reports {
		nodes, epoch := "", ""
		if r.Cluster != nil {
			nodes, epoch = strconv.Itoa(r.Cluster.members()), strconv.FormatUint(r.Cluster.Epoch, 10)
		}
		t.row(r.Dir, r.Node.Name, r.State, nodes, epoch, r.Volume.Label, r.Volume.Device, strconv.Itoa(r.PID))
	}
	return t.flush()
}

func (c *clusterReport) members() (n int) {
	for _, m := range c.Members {
		if m.Member {
			n++
		}
	}
	return n
}

// print is the report for people.
func (r *statusReport) print(w io.Writer) error {
	fmt.Fprintf(w, "%s: node %s is %s", r.Dir, r.Node.Name, r.State)
	if r.Reason != "" {
		fmt.Fprintf(w, " (%s)", r.Reason)
	}
	fmt.Fprintf(w, ", for %s\n\n", ago(fromMillis(r.SinceMS)))
	v := r.Volume
	fmt.Fprintf(w, "volume     %s on %s\n", or(v.Label, "(no label)"), v.Device)
	if r.Cluster == nil {
		return nil
	}
	freeText := "not known now"
	if v.Free != nil {
		freeText = bytesText(*v.Free)
	}
	fmt.Fprintf(w, "           uuid %s, %s, free %s, clusters of %s\n", v.UUID, bytesText(v.Size), freeText, bytesText(v.ClusterSize))
	if v.Note != "" {
		fmt.Fprintf(w, "           note: %s\n", v.Note)
	}
	fmt.Fprintf(w, "transport  %s, FUSE %s, %d workers; pid %d\n", r.Transport.Name, r.Transport.Protocol, r.Transport.Workers, r.PID)
	r.Cluster.print(w, r)
	if r.State == cluster.StateJoining.String() {
		return nil
	}
	return r.Counters.print(w)
}

func (c *clusterReport) print(w io.Writer, r *statusReport) {
	if r.Node.Slot >= 0 {
		fmt.Fprintf(w, "node       slot %d, incarnation %d, at %s\n", r.Node.Slot, r.Node.Incarnation, r.Node.Addr)
	}
	lease := "no lease yet"
	if c.LeaseAgeMS > 0 {
		lease = fmt.Sprintf("lease renewed %s ago, left %s", ago(fromMillis(c.LeaseAgeMS)), ago(fromMillis(c.LeaseLeftMS)))
	}
	fmt.Fprintf(w, "cluster    epoch %d, profile %s, %s\n", c.Epoch, r.Volume.Profile, lease)
	fmt.Fprintf(w, "fencing    %s; views by %s", strings.Join(c.Fencing, ", then "), c.Views)
	if c.LastProof != "" {
		fmt.Fprintf(w, "; the last death was proven by %s", c.LastProof)
	}
	fmt.Fprintln(w)
	fmt.Fprintf(w, "network    %s; gossip: %s\n", c.Secured, rumours(c.Gossip))
	if c.Watchdog != "" {
		fmt.Fprintf(w, "watchdog   %s\n", c.Watchdog)
	}
	if c.Heartbeat != "" {
		fmt.Fprintf(w, "heartbeat  %s\n", c.Heartbeat)
	}
	if c.Disk != "" {
		fmt.Fprintf(w, "disk       %s\n", c.Disk)
	}
	fmt.Fprintf(w, "gate       %d operations wait for the lease, %d are at the device\n", c.IOWaiting, c.IOInFlight)
	c.printWaits(w)
	fmt.Fprintln(w)
	t := newTable(w, "SLOT", "NODE", "STATE", "LIVENESS", "HEARTBEAT", "ADDRESS", "CONNECTED")
	for _, m := range c.Members {
		t.row(m.cells()...)
	}
	_ = t.flush()
	fmt.Fprintln(w)
}

// printWaits says what is waited for, since when, and for how long still at most.
func (c *clusterReport) printWaits(w io.Writer) {
	told := map[int]bool{}
	for _, v := range c.Victims {
		told[v.Slot] = true
		limit := "without a bound: see covol node fence"
		if v.AtMostMS != nil {
			limit = "at most " + ago(fromMillis(*v.AtMostMS)) + " more"
		}
		fmt.Fprintf(w, "waits for  a proof that %s (slot %d) is dead, for %s, %s\n", or(v.Name, "a node"), v.Slot, ago(fromMillis(v.ForMS)), limit)
		for _, try := range v.Tries {
			fmt.Fprintf(w, "           - %s\n", try)
		}
	}
	for _, wait := range c.Waits {
		who := ""
		if wait.Slot != nil {
			if told[*wait.Slot] {
				continue
			}
			who = fmt.Sprintf(" (slot %d)", *wait.Slot)
		}
		fmt.Fprintf(w, "waits for  %s%s, for %s\n", wait.What, who, ago(fromMillis(wait.ForMS)))
	}
}

func (m *memberReport) cells() []string {
	state := m.State
	if m.Recovering {
		state += ", to be recovered"
	}
	if m.ProofInMS > 0 {
		state += ", counts as dead in " + ago(fromMillis(m.ProofInMS))
	}
	beat, conn := ago(fromMillis(m.HeartbeatMS))+" ago", "yes"
	switch {
	case m.Self:
		beat, conn = "", ""
	case !m.Connected:
		conn = or(m.ConnectError, "no")
	}
	return []string{strconv.Itoa(m.Slot), m.Name, state, m.Liveness, beat, m.Addr, conn}
}

func (c *counters) print(w io.Writer) error {
	_, err := fmt.Fprintf(w, "locks      %d kept, %d of them idle; %d granted here, %d by other nodes, %d asked back; messages %d sent, %d received\n"+
		"device     %d reads (%s), %d writes (%s), %d flushes\n"+
		"journal    %d of %d blocks in use; %d transactions in %d commits, %d blocks; %d flushes for %d calls; %d written home, %d checkpoints\n"+
		"cache      %d metadata blocks, %d of them dirty; %d hits, %d misses; %d inodes known\n"+
		"files      %d open\n",
		c.LocksCached, c.LocksIdle, c.LocalGrants, c.RemoteGrants, c.BlockingCallbacks, c.LockMessagesSent, c.LockMessagesReceived,
		c.DeviceReads, bytesText(int64(c.DeviceReadBytes)), c.DeviceWrites, bytesText(int64(c.DeviceWrittenBytes)), c.DeviceFlushes,
		c.JournalUsed, c.JournalSize, c.JournalTransactions, c.JournalCommits, c.JournalBlocks, c.JournalFlushes, c.JournalFlushCalls,
		c.JournalHomeWrites, c.JournalCheckpoints,
		c.CacheClean+c.CacheDirty, c.CacheDirty, c.CacheHits, c.CacheMisses, c.InodesKnown, c.OpenFiles)
	return err
}
