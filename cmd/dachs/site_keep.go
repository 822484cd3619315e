package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"dachs/storage"
)

type siteKeepCmd struct {
	Domain string `arg:"" help:"Domain of the site."`
	Hours  *int   `help:"Days before today for which hours can be filtered. Later only the totals of each hour are left. Default 2." placeholder:"DAYS"`
	Detail *int   `help:"Days for which numbers can be filtered. Later only totals by one dimension are left. Default: 25 months." placeholder:"DAYS"`
	Totals *int   `help:"Days for which anything is kept. Default: 25 months." placeholder:"DAYS"`
}

// Run implements the command: without flags it shows what is kept.
func (c *siteKeepCmd) Run(ctx context.Context, a *app) error {
	return a.with(ctx, local{}, func(cl *client) error {
		path, method, body := "/sites/"+url.PathEscape(c.Domain)+"/keep", http.MethodGet, any(nil)
		if c.Hours != nil || c.Detail != nil || c.Totals != nil {
			method, body = http.MethodPatch, keepChange{c.Hours, c.Detail, c.Totals}
		}
		var keep storage.Retention
		if err := cl.call(ctx, method, path, body, &keep); err != nil {
			return fmt.Errorf("keep: %w", err)
		}
		_, err := fmt.Fprintf(a.stdout, "hours: %d days, details: %d days, totals: %d days\n", keep.Hours, keep.Detail, keep.Totals)
		return err
	})
}

// keepChange is the body of PATCH /sites/{domain}/keep. What is nil stays as it is; 0 is the default.
type keepChange struct {
	Hours  *int `json:"hours"`
	Detail *int `json:"detail"`
	Totals *int `json:"totals"`
}

func (a *admin) keep(w http.ResponseWriter, r *http.Request) {
	site, ok := a.site(w, r.PathValue("domain"))
	if ok {
		answer(w, http.StatusOK, site.Keep.OrDefault())
	}
}

func (a *admin) changeKeep(w http.ResponseWriter, r *http.Request) {
	var in keepChange
	if !decode(w, r, &in) {
		return
	}
	site, ok := a.site(w, r.PathValue("domain"))
	if !ok {
		return
	}
	keep := site.Keep
	for _, x := range []struct {
		from *int
		to   *int
	}{{in.Hours, &keep.Hours}, {in.Detail, &keep.Detail}, {in.Totals, &keep.Totals}} {
		if x.from != nil {
			*x.to = *x.from
		}
	}
	if err := keep.Check(); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	if err := a.store.SetRetention(site.Domain, keep); err != nil {
		refuseStore(w, err)
		return
	}
	if err := a.store.Purge(r.Context()); err != nil {
		refuseStore(w, err)
		return
	}
	answer(w, http.StatusOK, keep.OrDefault())
}

type siteForgetCmd struct {
	Domain string `arg:"" help:"Domain of the site."`
	From   string `help:"First day to delete." required:"" placeholder:"2026-01-31"`
	To     string `help:"Last day to delete; it has to be over." required:"" placeholder:"2026-01-31"`
	Yes    bool   `help:"Do not ask."`
}

// Run implements the command.
func (c *siteForgetCmd) Run(ctx context.Context, a *app) error {
	var days dayRange
	for _, x := range []struct {
		flag, text string
		day        *storage.Day
	}{{"--from", c.From, &days.From}, {"--to", c.To, &days.To}} {
		day, err := storage.ParseDay(x.text)
		if err != nil {
			return usagef("%s: %w", x.flag, err)
		}
		*x.day = day
	}
	if days.From > days.To {
		return usagef("--from %s lies after --to %s", days.From, days.To)
	}
	if err := a.confirm(c.Yes, "forget", c.Domain, fmt.Sprintf("all counts of %s from %s to %s", c.Domain, days.From, days.To)); err != nil {
		return err
	}
	return a.with(ctx, local{}, func(cl *client) error {
		if err := cl.call(ctx, http.MethodPost, "/sites/"+url.PathEscape(c.Domain)+"/forget", days, nil); err != nil {
			return fmt.Errorf("forget: %w", err)
		}
		_, err := fmt.Fprintf(a.stdout, "deleted %s to %s of %s\n", days.From, days.To, c.Domain)
		return err
	})
}

// dayRange is the body of POST /sites/{domain}/forget.
type dayRange struct {
	From storage.Day `json:"from"`
	To   storage.Day `json:"to"`
}

func (a *admin) forget(w http.ResponseWriter, r *http.Request) {
	var in dayRange
	if !decode(w, r, &in) {
		return
	}
	site, ok := a.site(w, r.PathValue("domain"))
	if !ok {
		return
	}
	if err := a.store.DeleteRange(site.Domain, in.From, in.To); err != nil {
		refuseStore(w, err)
		return
	}
	if err := a.store.Purge(r.Context()); err != nil {
		refuseStore(w, err)
		return
	}
	answer(w, http.StatusOK, struct{}{})
}
