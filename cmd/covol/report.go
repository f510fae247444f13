package main

import (
	"os"
	"time"

	"github.com/covol/covol/cluster"
	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
	"github.com/covol/covol/dlm/wire"
	"github.com/covol/covol/fs"
	"github.com/covol/covol/ondisk"
)

// statusReport is the state of one mount, as the control socket and status --json tell it. Fields whose names end in
// _ms are milliseconds. Fields are added, never renamed.
type statusReport struct {
	Dir       string         `json:"dir"`
	PID       int            `json:"pid"`
	StateDir  string         `json:"state_dir,omitempty"` // where it keeps events; absent: in memory
	State     string         `json:"state"`               // joining, active, stalled, paused, leaving, left, withdrawn
	Reason    string         `json:"reason,omitempty"`
	SinceMS   float64        `json:"since_ms"` // of the state
	Mounted   bool           `json:"mounted"`  // programs may use it
	UptimeMS  float64        `json:"uptime_ms"`
	Node      nodeReport     `json:"node"`
	Volume    volumeReport   `json:"volume"`
	Transport transportInfo  `json:"transport"`
	Cluster   *clusterReport `json:"cluster,omitempty"`
	Counters  counters       `json:"counters"`
}

type nodeReport struct {
	Name        string `json:"name"`
	Slot        int    `json:"slot"`
	Incarnation uint32 `json:"incarnation"`
	Addr        string `json:"addr"`
}

type volumeReport struct {
	Device      string `json:"device"`
	Label       string `json:"label"`
	UUID        string `json:"uuid"`
	Size        int64  `json:"size"`
	Free        *int64 `json:"free,omitempty"` // absent if it cannot be told now
	ClusterSize int64  `json:"cluster_size"`
	Profile     string `json:"profile"`
	Note        string `json:"note,omitempty"` // what the operator should know, as a damaged superblock
}

type transportInfo struct {
	Name     string `json:"name"`
	Protocol string `json:"protocol,omitempty"` // version of FUSE
	Workers  int    `json:"workers"`
}

type clusterReport struct {
	Epoch       uint64         `json:"epoch"`
	DiskEpoch   uint64         `json:"disk_epoch"`
	LeaseAgeMS  float64        `json:"lease_age_ms"` // since the renewal that it counts from
	LeaseLeftMS float64        `json:"lease_left_ms"`
	Fencing     []string       `json:"fencing"`                // methods in use, best first
	FencingNote string         `json:"fencing_note,omitempty"` // why there is no fencing by reservations
	LastProof   string         `json:"last_proof,omitempty"`   // method of the latest death that this node has proven
	Watchdog    string         `json:"watchdog,omitempty"`
	Views       string         `json:"views"` // how they are agreed on
	Heartbeat   string         `json:"heartbeat_error,omitempty"`
	Disk        string         `json:"disk_error,omitempty"`
	IOWaiting   int            `json:"io_waiting"` // at the gate
	IOInFlight  int            `json:"io_in_flight"`
	Secured     string         `json:"secured"` // how nodes know each other
	Gossip      []gossipReport `json:"gossip"`  // a rumour: decides nothing
	Members     []memberReport `json:"members"`
	Waits       []waitReport   `json:"waits"`
	Victims     []victimReport `json:"victims"` // nodes whose death is not proven yet
}

type memberReport struct {
	nodeReport
	PID          uint32  `json:"pid"`
	Self         bool    `json:"self"`
	Member       bool    `json:"member"`
	State        string  `json:"state"`
	Liveness     string  `json:"liveness"`
	HeartbeatMS  float64 `json:"heartbeat_age_ms"`
	ProofInMS    float64 `json:"proof_in_ms,omitempty"`
	Recovering   bool    `json:"recovering,omitempty"`
	SameHost     bool    `json:"same_host,omitempty"`
	Connected    bool    `json:"connected"`
	ConnectError string  `json:"connect_error,omitempty"`
}

type waitReport struct {
	What  string  `json:"what"`
	Slot  *int    `json:"slot,omitempty"`
	ForMS float64 `json:"for_ms"`
}

// victimReport is a node of which a proof of death is waited for.
type victimReport struct {
	Name     string   `json:"name"`
	Slot     int      `json:"slot"`
	ForMS    float64  `json:"for_ms"`
	AtMostMS *float64 `json:"at_most_ms,omitempty"` // still; absent: without bound, somebody must help
	Tries    []string `json:"tries,omitempty"`      // what each method of fencing says
}

type counters struct {
	LockMessagesSent     uint64            `json:"lock_messages_sent"`
	LockMessagesReceived uint64            `json:"lock_messages_received"`
	LockSentByKind       map[string]uint64 `json:"lock_sent_by_kind,omitempty"`
	LocalGrants          uint64            `json:"local_grants"`
	RemoteGrants         uint64            `json:"remote_grants"`
	BlockingCallbacks    uint64            `json:"blocking_callbacks"`
	ViewChanges          uint64            `json:"view_changes"`
	Rebuilds             uint64            `json:"rebuilds"`
	Retransmits          uint64            `json:"retransmits"`
	Refused              uint64            `json:"refused"`
	Malformed            uint64            `json:"malformed"`
	Unexpected           uint64            `json:"unexpected"`
	OpenFiles            int64             `json:"open_files"`
	DeviceReads          uint64            `json:"device_reads"`
	DeviceWrites         uint64            `json:"device_writes"`
	DeviceFlushes        uint64            `json:"device_flushes"`
	DeviceReadBytes      uint64            `json:"device_read_bytes"`
	DeviceWrittenBytes   uint64            `json:"device_written_bytes"`
	LocksCached          int               `json:"locks_cached"`
	LocksIdle            int               `json:"locks_idle"`
	InodesKnown          int               `json:"inodes_known"` // to the kernel, or open
	JournalTransactions  uint64            `json:"journal_transactions"`
	JournalCommits       uint64            `json:"journal_commits"`
	JournalBlocks        uint64            `json:"journal_blocks"` // logged
	JournalFlushes       uint64            `json:"journal_flushes"`
	JournalFlushCalls    uint64            `json:"journal_flush_calls"` // that the flushes served
	JournalHomeWrites    uint64            `json:"journal_home_writes"`
	JournalCheckpoints   uint64            `json:"journal_checkpoints"`
	JournalUsed          int               `json:"journal_used"` // blocks of the ring to be replayed after a crash
	JournalSize          int               `json:"journal_size"`
	CacheHits            uint64            `json:"cache_hits"` // of metadata blocks
	CacheMisses          uint64            `json:"cache_misses"`
	CacheClean           int               `json:"cache_clean_blocks"`
	CacheDirty           int               `json:"cache_dirty_blocks"`
}

// status describes the mount at any time of its life. It waits for nothing but, for a
// moment, free space.
func (s *session) status() *statusReport {
	s.mu.Lock()
	n, joined, m, files, leaving, lost := s.node, s.joined, s.mount, s.files, s.leaving, s.lost
	s.mu.Unlock()
	r := &statusReport{
		Dir: s.dir, PID: os.Getpid(), StateDir: s.cfg.StateDir, State: cluster.StateJoining.String(), SinceMS: millis(time.Since(s.started)),
		UptimeMS: millis(time.Since(s.started)), Node: nodeReport{Name: s.cfg.Name, Slot: -1},
		Volume: volumeReport{Device: s.device}, Transport: transportInfo{Name: "bazil"},
	}
	if n == nil {
		return r
	}
	r.Volume = n.volumeReport()
	up := n.up.Load()
	if up == nil {
		return r
	}
	st := up.Status()
	r.State, r.SinceMS = st.State.String(), millis(st.Now-st.Since)
	if st.Reason.Cause != cluster.CauseNone {
		r.Reason = st.Reason.String()
	}
	if leaving && (st.State == cluster.StateActive || st.State == cluster.StateStalled) {
		r.State = cluster.StateLeaving.String()
	}
	if lost != nil && st.State != cluster.StateFenced {
		r.State, r.Reason = cluster.StateWithdrawn.String(), lost.Error()
	}
	r.Node = nodeReport{Name: s.cfg.Name, Slot: int(st.Self.Slot), Incarnation: uint32(st.Self.Incarnation), Addr: n.peers.addr}
	if st.Self.Incarnation == 0 {
		r.Node.Slot = -1
	}
	r.Cluster = n.clusterReport(&st)
	if !joined {
		return r
	}
	r.Mounted = !leaving
	r.Transport.Protocol = m.Protocol()
	r.Transport.Workers, _ = m.Workers()
	r.Volume.Free = s.space.look(files, !leaving && r.State == cluster.StateActive.String())
	r.Counters = n.counters()
	r.Counters.OpenFiles = files.now.Load()
	return r
}

func (n *node) volumeReport() volumeReport {
	sb := n.super
	return volumeReport{Device: shown(n.cfg.Device), Label: sb.Label, UUID: sb.UUID.String(), Size: int64(sb.Blocks) * ondisk.BlockSize,
		ClusterSize: int64(sb.ClusterSize), Profile: sb.Profile.Name, Note: n.note.String()}
}

func (n *node) clusterReport(st *cluster.Status) *clusterReport {
	r := &clusterReport{
		Epoch: uint64(st.View.Epoch), DiskEpoch: uint64(st.DiskEpoch), LeaseAgeMS: millis(st.LeaseAge), LeaseLeftMS: millis(st.LeaseLeft),
		Fencing: st.Fencing, FencingNote: n.weak, LastProof: st.Fenced, Views: st.Views, Heartbeat: st.Heartbeat, Disk: st.Disk, IOWaiting: st.Waiting, IOInFlight: st.InFlight,
		Secured: n.cfg.Secure.String(), Gossip: n.peers.gossipReport(),
		Members: []memberReport{}, Waits: []waitReport{}, Victims: []victimReport{},
	}
	connected, why := map[view.NodeID]bool{}, map[view.NodeID]string{}
	for _, p := range n.peers.info() {
		connected[p.ID], why[p.ID] = p.Connected, p.LastError
	}
	for _, s := range st.Slots {
		if s.State == "free" {
			continue
		}
		m := memberReport{
			nodeReport: nodeReport{Name: s.Name, Slot: int(s.ID.Slot), Incarnation: uint32(s.ID.Incarnation), Addr: s.Addr},
			PID:        s.Pid, Self: s.ID == st.Self, Member: s.Member, State: s.State, Liveness: s.Liveness, HeartbeatMS: millis(s.Age),
			ProofInMS: millis(s.ProofIn), Recovering: s.Recovering, SameHost: s.SameHost, Connected: connected[s.ID],
		}
		if !m.Connected {
			m.ConnectError = why[s.ID]
		}
		r.Members = append(r.Members, m)
	}
	r.Watchdog = st.Watchdog
	for _, w := range st.Waits {
		r.Waits = append(r.Waits, waitReport{What: w.What, Slot: slotOf(w.Slot), ForMS: millis(st.Now - w.Since)})
	}
	for _, v := range st.Victims {
		r.Victims = append(r.Victims, victimReportOf(&v, st.Now))
	}
	return r
}

func victimReportOf(v *cluster.VictimStatus, now time.Duration) victimReport {
	r := victimReport{Name: v.Name, Slot: int(v.ID.Slot), ForMS: millis(now - v.Since), Tries: v.Tries}
	if v.AtMost >= 0 {
		ms := millis(v.AtMost)
		r.AtMostMS = &ms
	}
	return r
}

func slotOf(s view.Slot) *int {
	if s == view.NoSlot {
		return nil
	}
	n := int(s)
	return &n
}

func (n *node) counters() counters {
	c := counters{
		DeviceReads: n.io.reads.Load(), DeviceWrites: n.io.writes.Load(), DeviceFlushes: n.io.flushes.Load(),
		DeviceReadBytes: n.io.readBytes.Load(), DeviceWrittenBytes: n.io.writtenBytes.Load(), LockSentByKind: map[string]uint64{},
	}
	st := n.LockManager().Stats()
	c.addLocks(&st)
	c.addVolume(n.Volume().Stats())
	return c
}

func (c *counters) addVolume(st fs.Stats) {
	c.LocksCached, c.LocksIdle, c.InodesKnown = st.Locks, st.Idle, st.Known
	j := &st.Journal
	c.JournalTransactions, c.JournalCommits, c.JournalBlocks = j.Txns, j.Commits, j.BlocksLogged
	c.JournalFlushes, c.JournalFlushCalls = j.Flushes, j.FlushCalls
	c.JournalHomeWrites, c.JournalCheckpoints = j.HomeWrites, j.Checkpoints
	c.JournalUsed, c.JournalSize = j.LogUsed, j.LogSize
	c.CacheHits, c.CacheMisses, c.CacheClean, c.CacheDirty = j.Hits, j.Misses, j.CleanBlocks, j.DirtyBlocks
}

func (c *counters) addLocks(st *dlm.Stats) {
	c.LockMessagesSent = st.MessagesSent()
	for k, count := range st.Sent {
		if count > 0 {
			c.LockSentByKind[wire.Kind(k).String()] = count
		}
		c.LockMessagesReceived += st.Received[k]
	}
	c.LocalGrants, c.RemoteGrants, c.BlockingCallbacks = st.LocalGrants, st.RemoteGrants, st.Blocking
	c.ViewChanges, c.Rebuilds, c.Retransmits = st.ViewChanges, st.Rebuilds, st.Retransmits
	c.Refused, c.Malformed, c.Unexpected = st.Refused, st.Malformed, st.Unexpected
}
