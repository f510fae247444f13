package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// errNoMount says that no covol process serves a directory.
var errNoMount = errors.New("no volume is mounted there by a covol of this host")

// controlClient talks to the process behind one mount.
type controlClient struct {
	socket string
	http   http.Client
}

func newClient(socket string) *controlClient {
	return &controlClient{socket: socket, http: http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}}
}

// clientFor finds the process behind a mount point.
func clientFor(dir string) (*controlClient, error) {
	abs, err := canonical(dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	socket := findControl(abs)
	if socket == "" {
		return nil, hint(fmt.Errorf("%s: %w", dir, errNoMount), "covol status shows all mounts of this host.")
	}
	return newClient(socket), nil
}

func (c *controlClient) call(ctx context.Context, method, path string, into any) error {
	answer, err := c.open(ctx, method, path)
	if err != nil {
		return err
	}
	defer answer.Close()
	body, err := io.ReadAll(answer)
	if err != nil {
		return fmt.Errorf("answer of the mount process: %w", err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("answer of the mount process: %w", err)
	}
	return nil
}

// open sends a request and returns the body of an answer that is no error. The caller closes it.
func (c *controlClient) open(ctx context.Context, method, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://covol"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the mount process: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("answer of the mount process: %w", err)
	}
	return nil, refusal(resp.Status, body)
}

// refusal is the error in an answer of the mount process.
func refusal(status string, body []byte) error {
	var e controlError
	if err := json.Unmarshal(body, &e); err != nil || e.Error == "" {
		return fmt.Errorf("the mount process answers: %s", status)
	}
	if e.Hint != "" {
		return hint(errors.New(e.Error), "%s", e.Hint)
	}
	return errors.New(e.Error)
}

// gone reports whether err says that the process behind a socket has ended.
func gone(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrNotExist) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
}

func (c *controlClient) status(ctx context.Context) (*statusReport, error) {
	var r statusReport
	return &r, c.call(ctx, http.MethodGet, pathStatus, &r)
}

func (c *controlClient) locks(ctx context.Context) (*lockReport, error) {
	var r lockReport
	return &r, c.call(ctx, http.MethodGet, pathLocks, &r)
}

// pid is the process that listens on the socket, whether or not it answers.
func (c *controlClient) pid() (int, error) {
	conn, err := net.Dial("unix", c.socket)
	if err != nil {
		return 0, fmt.Errorf("process of the mount: %w", err)
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("process of the mount: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, fmt.Errorf("process of the mount: %w", err)
	}
	if credErr != nil {
		return 0, fmt.Errorf("process of the mount: %w", credErr)
	}
	return int(cred.Pid), nil
}

// umount returns once the node has left.
func (c *controlClient) umount(ctx context.Context, force bool) error {
	path := pathUmount
	if force {
		path += "?force=true"
	}
	return c.call(ctx, http.MethodPost, path, &struct{}{})
}
