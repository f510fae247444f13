package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/covol/covol/fs/fusefs/bazil"
)

// The control socket speaks HTTP with JSON bodies; an error is {"error": ..., "hint": ...} with a status other than 200.
//
//	GET  /v1/status               statusReport
//	GET  /v1/locks                lockReport
//	GET  /v1/events[?since=RFC3339][&last=N][&follow=true]  eventLines, one a line
//	POST /v1/fence?name=NAME      declares a node dead on a person's word; 409 if it is alive, 404 if there is none
//	POST /v1/umount[?force=true]  leaves, and answers once that is over; 409 while the mount is in use
const (
	pathStatus = "/v1/status"
	pathLocks  = "/v1/locks"
	pathEvents = "/v1/events"
	pathFence  = "/v1/fence"
	pathUmount = "/v1/umount"
)

// controlError is the body of an answer that is not 200.
type controlError struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
}

// controlServer answers on the control socket of one mount.
type controlServer struct {
	s    *session
	http *http.Server
}

func serveControl(ln net.Listener, s *session) *controlServer {
	c := &controlServer{s: s}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathStatus, func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, s.status()) })
	mux.HandleFunc("GET "+pathLocks, func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, s.lockReport()) })
	mux.HandleFunc("GET "+pathEvents, c.events)
	mux.HandleFunc("POST "+pathFence, c.fence)
	mux.HandleFunc("POST "+pathUmount, c.umount)
	c.http = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = c.http.Serve(ln) }()
	return c
}

// close waits a moment for answers that are being sent.
func (c *controlServer) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = c.http.Shutdown(ctx)
}

func (c *controlServer) umount(w http.ResponseWriter, r *http.Request) {
	err := c.s.umount(r.Context(), r.FormValue("force") == "true")
	switch {
	case err == nil:
		answer(w, 200, struct{}{})
	case errors.Is(err, bazil.ErrBusy):
		answer(w, http.StatusConflict, controlError{Error: err.Error(),
			Hint: "fuser -vm DIR shows who uses it; covol umount --force DIR cuts them off."})
	default:
		answer(w, http.StatusInternalServerError, controlError{Error: err.Error()})
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
