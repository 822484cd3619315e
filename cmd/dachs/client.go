package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"dachs/storage"

	"github.com/valyala/fasthttp/fasthttputil"
)

// client sends a command's requests to an admin handler.
type client struct {
	http  *http.Client
	close func() error
}

// adminURL is the host of every admin request. It is never resolved: the client dials one listener only.
const adminURL = "http://dachs"

// local says how connect opens the store itself when no server runs. The zero value suits commands that only read.
type local struct {
	Create bool   // make the data directory; else refuse, since an empty answer would only hide a wrong --data
	Base   string // address of the dashboard, for links
	GeoIP  string // as --geoip of serve, for imports
}

// handoverTimeout is how long connect waits for another process that is just starting or ending.
const handoverTimeout = 3 * time.Second

// connect reaches the store: through the server that has it open, else by opening it in this process.
// The caller closes the client.
func (a *app) connect(ctx context.Context, o local) (*client, error) {
	there, err := findData(a.data)
	if err != nil {
		return nil, err
	}
	if !there && !o.Create {
		return nil, fmt.Errorf("open %s: nothing is stored there yet; name the server's directory with --data", a.data)
	}
	for deadline := time.Now().Add(handoverTimeout); ; {
		conn, err := dialAdmin(ctx, a.data)
		if err == nil {
			conn.Close()
			return remoteClient(a.data), nil
		}
		if !noServer(err) {
			return nil, fmt.Errorf("reach the running server: %w; run the command as the user that the server runs as", err)
		}
		c, err := a.localClient(o)
		if !errors.Is(err, storage.ErrLocked) || time.Now().After(deadline) {
			return c, err
		}
		// Locked but deaf: between its two steps of starting or stopping, or a server without a socket.
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// findData says whether the data directory is there. A file in its place, or above it, is an error.
func findData(dir string) (there bool, err error) {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() || errors.Is(err, syscall.ENOTDIR) {
		return false, fmt.Errorf("open %s: it is a file, or in one, and not a directory; name a directory with --data", dir)
	}
	return err == nil, nil // what else may be wrong, the store says better
}

// noServer says whether a dial failed because nobody listens: no socket, or one that a killed server left.
func noServer(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

func remoteClient(data string) *client {
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialAdmin(ctx, data)
	}}
	return &client{&http.Client{Transport: t}, func() error { t.CloseIdleConnections(); return nil }}
}

// localClient opens the store and serves the admin handler to this process alone.
func (a *app) localClient(o local) (*client, error) {
	geo, err := openGeo(o.GeoIP)
	if err != nil {
		return nil, err
	}
	store, err := a.openStore(storage.Options{})
	if err != nil {
		return nil, errors.Join(err, geo.Close())
	}
	adm := &admin{store: store, geo: geo, base: o.Base, logger: a.logger, now: a.now}
	return inProcess(adm.handler(), func() error {
		adm.running.Wait()
		return errors.Join(store.Close(), geo.Close())
	}), nil
}

// inProcess serves a handler to this process alone. release runs once the last request is done.
func inProcess(h http.Handler, release func() error) *client {
	ln := fasthttputil.NewInmemoryListener()
	srv := &http.Server{Handler: h, ErrorLog: silentLog()}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(ln) // ends with Shutdown below
	}()
	t := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return ln.Dial() }}
	return &client{&http.Client{Transport: t}, func() error {
		t.CloseIdleConnections()
		// An interrupted import has to drop what it wrote before the store closes.
		ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
		defer cancel()
		if srv.Shutdown(ctx) != nil {
			_ = srv.Close()
		}
		<-served
		return release()
	}}
}

// Close ends the connection, or closes the store if this process had opened it.
func (c *client) Close() error { return c.close() }

// answerError is a refusal of the admin handler.
type answerError struct {
	Status int
	Text   string
}

func (e *answerError) Error() string { return e.Text }

// call sends in as JSON (nothing if nil) and decodes the answer into out (ignored if nil).
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

// do sends a request with a body that may be of any length, and returns the answer if it is a success.
// The caller closes its body.
func (c *client) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, adminURL+path, body)
	if err != nil {
		return nil, fmt.Errorf("build request: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("reach the server: %w", err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refusal(resp)
}

// refusal turns an answer that is not a success into an error; a 400 is the caller's mistake.
func refusal(resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAdminBody))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	var f failure
	if json.Unmarshal(text, &f) != nil || f.Error == "" {
		f.Error = strings.TrimSpace(string(text))
	}
	if f.Error == "" {
		f.Error = resp.Status
	}
	e := &answerError{resp.StatusCode, f.Error}
	if resp.StatusCode == http.StatusBadRequest {
		return usageError{e}
	}
	return e
}

// openStore opens the store. Its errors name a remedy already, but not the flag that goes with it.
func (a *app) openStore(o storage.Options) (*storage.DB, error) {
	if _, err := findData(a.data); err != nil {
		return nil, err
	}
	key, err := a.key()
	if err != nil {
		return nil, err
	}
	o.EncryptionKey, o.Logger, o.Now = key, a.logger, a.now
	store, err := storage.Open(a.data, o)
	if err != nil {
		return nil, explainOpen(err)
	}
	return store, nil
}
