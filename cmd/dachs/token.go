package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"dachs/storage"
)

type tokenCmd struct {
	Create tokenCreateCmd `cmd:"" help:"Create a token that may read one site's numbers, or count for it, and print it once."`
	List   tokenListCmd   `cmd:"" help:"List all tokens, without their secrets."`
	Revoke tokenRevokeCmd `cmd:"" help:"Revoke a token."`
}

type tokenCreateCmd struct {
	Site  string `help:"Domain of the site." required:"" placeholder:"DOMAIN"`
	Count bool   `help:"The token may not read numbers but count for the site from a server, and say the visitor's address and user agent."`
}

// Run implements the command. The secret stands alone on standard output, so that scripts can take it.
func (c *tokenCreateCmd) Run(ctx context.Context, a *app) error {
	scope := storage.ScopeStats
	if c.Count {
		scope = storage.ScopeCount
	}
	return a.with(ctx, local{}, func(cl *client) error {
		var t tokenInfo
		if err := cl.call(ctx, http.MethodPost, "/tokens", newToken{c.Site, scope}, &t); err != nil {
			return fmt.Errorf("create token: %w", err)
		}
		fmt.Fprintf(a.stderr, "Token %s for %s. It is shown only now:\n", t.ID, t.Site)
		_, err := fmt.Fprintln(a.stdout, t.Secret)
		return err
	})
}

type tokenListCmd struct{}

// Run implements the command.
func (tokenListCmd) Run(ctx context.Context, a *app) error {
	return a.with(ctx, local{}, func(cl *client) error {
		var tokens []tokenInfo
		if err := cl.call(ctx, http.MethodGet, "/tokens", nil, &tokens); err != nil {
			return fmt.Errorf("list tokens: %w", err)
		}
		rows := [][]string{{"ID", "SITE", "FOR", "CREATED"}}
		for _, t := range tokens {
			rows = append(rows, []string{t.ID, t.Site, string(t.Scope), t.Created.Format(time.DateOnly)})
		}
		return writeTable(a.stdout, rows)
	})
}

type tokenRevokeCmd struct {
	ID string `arg:"" help:"ID of the token, as the list shows it."`
}

// Run implements the command.
func (c *tokenRevokeCmd) Run(ctx context.Context, a *app) error {
	return a.with(ctx, local{}, func(cl *client) error {
		if err := cl.call(ctx, http.MethodDelete, "/tokens/"+url.PathEscape(c.ID), nil, nil); err != nil {
			return fmt.Errorf("revoke token: %w", err)
		}
		_, err := fmt.Fprintf(a.stdout, "revoked %s\n", c.ID)
		return err
	})
}
