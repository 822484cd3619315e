package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"dachs/storage"
)

// checkCmd is `dachs check`.
type checkCmd struct {
	Repair bool `help:"Drop what is damaged: what each finding names, and nothing else. The server must be stopped."`
	NoCopy bool `help:"Do not put copies of what is changed into the directory damaged-DATE beside the store."`
	JSON   bool `help:"Write the report as JSON." name:"json"`
}

// Run looks at the store, through the server that has it open if there is one.
func (c *checkCmd) Run(ctx context.Context, a *app) error {
	there, err := findData(a.data)
	if err != nil {
		return err
	}
	if !there {
		return fmt.Errorf("check %s: nothing is stored there yet; name the server's directory with --data", a.data)
	}
	report, err := c.look(ctx, a)
	if err != nil {
		return err
	}
	if c.JSON {
		err = json.NewEncoder(a.stdout).Encode(report)
	} else {
		err = printCheck(a.stdout, report)
	}
	if err != nil {
		return err
	}
	return left(report)
}

// look reaches the store as connect does: a server may be just starting or ending.
func (c *checkCmd) look(ctx context.Context, a *app) (report storage.CheckReport, err error) {
	for deadline := time.Now().Add(handoverTimeout); ; {
		conn, err := dialAdmin(ctx, a.data)
		if err == nil {
			conn.Close()
			return c.remote(ctx, a)
		}
		if !noServer(err) {
			return report, fmt.Errorf("reach the running server: %w; run the command as the user that the server runs as", err)
		}
		key, err := a.key()
		if err != nil {
			return report, err
		}
		show := newProgressLine(a)
		report, err = storage.Check(ctx, a.data, storage.CheckOptions{
			Options: storage.Options{EncryptionKey: key, Logger: a.logger, Now: a.now}, Repair: c.Repair, NoCopy: c.NoCopy,
			Progress: func(done, total int) { show.show(fmt.Sprintf("%d of %d runs", done, total)) },
		})
		show.clear()
		if err == nil {
			return report, nil
		}
		if !errors.Is(err, storage.ErrLocked) {
			return report, explainOpen(err)
		}
		if time.Now().After(deadline) {
			return report, fmt.Errorf("%w: stop it first", err)
		}
		select {
		case <-ctx.Done():
			return report, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (c *checkCmd) remote(ctx context.Context, a *app) (report storage.CheckReport, err error) {
	if c.Repair {
		return report, errors.New("check --repair: a server has the store open; stop it first")
	}
	cl := remoteClient(a.data)
	err = cl.call(ctx, http.MethodGet, "/check", nil, &report)
	return report, errors.Join(err, cl.Close())
}

// check answers with a report about the open store.
func (a *admin) check(w http.ResponseWriter, r *http.Request) {
	report, err := a.store.Check(r.Context(), nil)
	if err != nil {
		refuseStore(w, err)
		return
	}
	answer(w, http.StatusOK, report)
}

// printCheck writes each finding, what became of it, and what was looked at.
func printCheck(w io.Writer, r storage.CheckReport) error {
	for _, f := range r.Findings {
		done := "--repair would"
		switch {
		case f.Repaired:
			done = "repaired"
		case f.Repair == "":
			done = "no repair"
		}
		if _, err := fmt.Fprintf(w, "%s\n  %s: %s\n", f.Text, done, f.Repair); err != nil {
			return err
		}
	}
	if r.Kept != "" {
		if _, err := fmt.Fprintf(w, "copies of what was changed are in %s; delete them when nobody needs them\n", r.Kept); err != nil {
			return err
		}
	}
	if r.FilesOnly {
		_, err := fmt.Fprintf(w, "looked at %d files (%s); what they hold can be looked at when they are repaired\n", r.Files, size(r.Bytes))
		return err
	}
	_, err := fmt.Fprintf(w, "looked at %d files (%s): sites %d, days %d, runs %d, rows %d\n",
		r.Files, size(r.Bytes), r.Sites, r.Days, r.Runs, r.Rows)
	return err
}

// left is the error for findings that are left, so that the exit code says it.
func left(r storage.CheckReport) error {
	n := 0
	for _, f := range r.Findings {
		if !f.Repaired {
			n++
		}
	}
	switch {
	case n == 0:
		return nil
	case n == 1:
		return errors.New("check: 1 thing is not as it should be")
	}
	return fmt.Errorf("check: %d things are not as they should be", n)
}

// size writes a number of bytes for people.
func size(bytes int64) string {
	if bytes < 10<<20 {
		return fmt.Sprintf("%d KiB", (bytes+1023)>>10)
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}
