package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"dachs/storage"
)

type siteAliasCmd struct {
	Domain string   `arg:"" help:"Domain of the site."`
	Action string   `arg:"" help:"add, remove or list (default)." enum:"add,remove,list" default:"list"`
	Names  []string `arg:"" name:"name" help:"Umami's website id, Matomo's idsite, GoatCounter's code or host, or a further domain." optional:""`
}

// Run implements the command.
func (c *siteAliasCmd) Run(ctx context.Context, a *app) error {
	var change aliasChange
	switch c.Action {
	case "add":
		change.Add = c.Names
	case "remove":
		change.Remove = c.Names
	}
	if listed := c.Action == "list"; listed != (len(c.Names) == 0) {
		return usagef("site alias: want `dachs site alias DOMAIN add NAME...`, `remove NAME...` or `list`")
	}
	return changeAliases(ctx, a, c.Domain, change)
}

// changeAliases changes the names of a site, and prints those that it has then, one a line.
func changeAliases(ctx context.Context, a *app, domain string, change aliasChange) error {
	return a.with(ctx, local{}, func(cl *client) error {
		var names []string
		if err := cl.call(ctx, http.MethodPatch, "/sites/"+url.PathEscape(domain)+"/aliases", change, &names); err != nil {
			return fmt.Errorf("site alias: %w", err)
		}
		for _, name := range names {
			if _, err := fmt.Fprintln(a.stdout, name); err != nil {
				return err
			}
		}
		return nil
	})
}

// aliasChange is the body of PATCH /sites/{domain}/aliases. The answer is the names after it.
type aliasChange struct {
	Add    []string `json:"add"`
	Remove []string `json:"remove"`
}

func (a *admin) changeAliases(w http.ResponseWriter, r *http.Request) {
	var in aliasChange
	if !decode(w, r, &in) {
		return
	}
	site, ok := a.site(w, r.PathValue("domain"))
	if !ok {
		return
	}
	if len(in.Add)+len(in.Remove) > 0 {
		change, err := in.compile(site)
		if err == nil {
			site, err = a.store.ChangeSettings(site.Domain, change)
		}
		if wrong := (aliasError{}); errors.As(err, &wrong) {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		if err != nil {
			refuseStore(w, err)
			return
		}
	}
	answer(w, http.StatusOK, append([]string{}, site.Settings.Aliases...))
}

// aliasError marks names that the caller got wrong.
type aliasError struct{ error }

// maxAliases bounds the names of one site, which are all held in memory.
const maxAliases = 100

// compile checks the names, so that what is left for the store is a change that means something.
func (c aliasChange) compile(site storage.Site) (func(*storage.Settings) error, error) {
	for _, list := range [][]string{c.Add, c.Remove} {
		for i, name := range list {
			clean, err := storage.CleanAlias(name)
			if err != nil {
				return nil, aliasError{err}
			}
			if clean == site.Domain {
				return nil, aliasError{fmt.Errorf("alias %s: that is the site's domain already", clean)}
			}
			list[i] = clean
		}
	}
	return func(s *storage.Settings) error {
		for _, name := range c.Remove {
			i := slices.Index(s.Aliases, name)
			if i < 0 {
				return aliasError{fmt.Errorf("alias %s: %s has no such name; `dachs site alias %s` shows all", name, site.Domain, site.Domain)}
			}
			s.Aliases = slices.Delete(s.Aliases, i, i+1)
		}
		s.Aliases = append(s.Aliases, c.Add...)
		if len(s.Aliases) > maxAliases {
			return aliasError{fmt.Errorf("aliases: there would be %d; want at most %d", len(s.Aliases), maxAliases)}
		}
		return nil
	}, nil
}
