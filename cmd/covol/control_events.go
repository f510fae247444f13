package main

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/covol/covol/cmd/covol/internal/events"
)

// events answers with one eventLine a line.
func (c *controlServer) events(w http.ResponseWriter, r *http.Request) {
	q, err := queryOf(r)
	if err != nil {
		answer(w, http.StatusBadRequest, controlError{Error: err.Error()})
		return
	}
	found, damage, err := c.s.events.Read(r.Context(), q)
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	if err != nil {
		_ = enc.Encode(eventLine{Note: "only the latest events, the store cannot be read: " + err.Error()})
	}
	if damage.Any() {
		_ = enc.Encode(eventLine{Note: "the event store is damaged: " + damage.String()})
	}
	for i := range found {
		_ = enc.Encode(eventLine{Event: &found[i]})
	}
	if r.FormValue("follow") != "true" {
		return
	}
	last := time.Time{}
	if len(found) > 0 {
		last = found[len(found)-1].Time
	}
	c.follow(w, r, enc, later(last, q.Since))
}

// follow goes on with what happens after last, until the mount has ended or nobody listens any more.
func (c *controlServer) follow(w http.ResponseWriter, r *http.Request, enc *json.Encoder, last time.Time) {
	flush := http.NewResponseController(w)
	for ended := false; ; {
		found, more := c.s.events.After(last)
		for i := range found {
			if enc.Encode(eventLine{Event: &found[i]}) != nil {
				return
			}
			last = found[i].Time
		}
		if flush.Flush() != nil || ended {
			return
		}
		select {
		case <-more:
		case <-c.s.left:
			ended = true // once more for the last event
		case <-r.Context().Done():
			return
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func queryOf(r *http.Request) (q events.Query, err error) {
	if text := r.FormValue("last"); text != "" {
		if q.Last, err = strconv.Atoi(text); err != nil {
			return q, err
		}
	}
	if text := r.FormValue("since"); text != "" {
		q.Since, err = time.Parse(time.RFC3339Nano, text)
	}
	return q, err
}
