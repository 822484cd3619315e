package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"dachs/storage"

	"golang.org/x/term"
)

type siteCmd struct {
	Add      siteAddCmd      `cmd:"" help:"Add a site."`
	List     siteListCmd     `cmd:"" help:"List all sites."`
	Show     siteShowCmd     `cmd:"" help:"Show what a site counts and what it leaves out."`
	Set      siteSetCmd      `cmd:"" help:"Change what a site counts and what it leaves out."`
	Refusals siteRefusalsCmd `cmd:"" help:"Show how many hits were not counted, and why."`
	Alias    siteAliasCmd    `cmd:"" help:"Give a site other names, such as the id it has in pages that were made for another product."`
	Keep     siteKeepCmd     `cmd:"" help:"Show or change for how long a site's numbers are kept."`
	Forget   siteForgetCmd   `cmd:"" help:"Delete all counts of some days."`
	Remove   siteRemoveCmd   `cmd:"" help:"Remove a site with all its counts and tokens."`
}

type siteAddCmd struct {
	Domain   string `arg:"" help:"Domain of the site, such as example.com."`
	TimeZone string `help:"Time zone in which the site's days and hours are counted. It cannot be changed later." name:"timezone" default:"UTC" placeholder:"Europe/Berlin"`
}

// Run implements the command.
func (c *siteAddCmd) Run(ctx context.Context, a *app) error {
	return a.with(ctx, local{Create: true}, func(cl *client) error {
		var site storage.Site
		if err := cl.call(ctx, http.MethodPost, "/sites", newSite{c.Domain, c.TimeZone}, &site); err != nil {
			return fmt.Errorf("add site: %w", err)
		}
		_, err := fmt.Fprintf(a.stdout, "added %s, time zone %s\n", site.Domain, site.TimeZone)
		return err
	})
}

type siteListCmd struct{}

// Run implements the command.
func (siteListCmd) Run(ctx context.Context, a *app) error {
	return a.with(ctx, local{}, func(cl *client) error {
		var sites []storage.Site
		if err := cl.call(ctx, http.MethodGet, "/sites", nil, &sites); err != nil {
			return fmt.Errorf("list sites: %w", err)
		}
		rows := [][]string{{"DOMAIN", "TIME ZONE", "CREATED"}}
		for _, s := range sites {
			rows = append(rows, []string{s.Domain, s.TimeZone, s.Created.Format(time.DateOnly)})
		}
		return writeTable(a.stdout, rows)
	})
}

type siteRemoveCmd struct {
	Domain string `arg:"" help:"Domain of the site."`
	Yes    bool   `help:"Do not ask."`
}

// Run implements the command.
func (c *siteRemoveCmd) Run(ctx context.Context, a *app) error {
	if err := a.confirm(c.Yes, "remove site", c.Domain, "all counts and tokens of "+c.Domain); err != nil {
		return err
	}
	return a.with(ctx, local{}, func(cl *client) error {
		var site storage.Site
		if err := cl.call(ctx, http.MethodDelete, "/sites/"+url.PathEscape(c.Domain), nil, &site); err != nil {
			return fmt.Errorf("remove site: %w", err)
		}
		_, err := fmt.Fprintf(a.stdout, "removed %s\n", site.Domain)
		return err
	})
}

// confirm asks on a terminal and insists on --yes elsewhere: counts that are gone cannot be had again. what says what
// would be deleted.
func (a *app) confirm(yes bool, command, domain, what string) error {
	if yes {
		return nil
	}
	if f, ok := a.stdin.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return usagef("%s: this deletes %s; add --yes to do it", command, what)
	}
	fmt.Fprintf(a.stderr, "This deletes %s. Type the domain to go on: ", what)
	typed, _ := bufio.NewReader(a.stdin).ReadString('\n')
	if strings.TrimSpace(typed) != domain {
		return usagef("%s: not confirmed, nothing was deleted", command)
	}
	return nil
}

// with runs f with a client of the store and closes it.
func (a *app) with(ctx context.Context, o local, f func(*client) error) error {
	cl, err := a.connect(ctx, o)
	if err != nil {
		return err
	}
	err = f(cl)
	if closeErr := cl.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("close store: %w", closeErr)
	}
	return err
}

// writeTable writes rows in aligned columns.
func writeTable(w io.Writer, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	return tw.Flush()
}
