// The two products' documented calls with Node's fetch: only host and secrets are variables. `documented.cjs NAME` makes one
// and prints status, headers and body as JSON. Snippets that are documented for Node are so word for word.
// Its key is in a .env file, as documented.
require('dotenv').config({ quiet: true });

const { API, CLAIM_TOKEN, ANON_KEY, EMAIL, PASSWORD, REFRESH_TOKEN } = process.env;
const apiKey = process.env.MIGMA_API_KEY;

const post = (path, body, headers = {}) =>
  fetch(`${API}${path}`, { method: 'POST', headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(body) });

const calls = {
  register: () =>
    post('/agent/identity', {
      type: 'service_auth',
      login_hint: 'user@example.com',
      agent_name: 'Claude',
      scope: 'audience:read campaign:read email:send',
    }),
  token: () => post('/oauth2/token', { grant_type: 'urn:workos:agent-auth:grant-type:claim', claim_token: CLAIM_TOKEN }),
  projects: async () => {
    const response = await fetch(`${API}/v1/projects`, {
      headers: {
        'Authorization': `Bearer ${apiKey}`
      }
    });
    return response;
  },
  list_agents: async () => {
    const response = await fetch(`${API}/functions/v1/list-agents`, {
      method: 'POST',
      headers: {
        'Authorization': `Bearer ${process.env.MAGPIPE_API_KEY}`,
        'Content-Type': 'application/json',
      },
      body: JSON.stringify({}),
    });
    return response;
  },
  password: () => post('/auth/v1/token?grant_type=password', { email: EMAIL, password: PASSWORD }, { apikey: ANON_KEY }),
  refresh: () => post('/auth/v1/token?grant_type=refresh_token', { refresh_token: REFRESH_TOKEN }, { apikey: ANON_KEY }),
};

(async () => {
  const response = await calls[process.argv[2]]();
  console.log(JSON.stringify({ status: response.status, headers: Object.fromEntries(response.headers), body: await response.json() }));
})();
