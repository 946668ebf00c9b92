FROM node AS bad
COPY . /app
RUN cd /app && npm ci
FROM node AS good
COPY package.json package-lock.json ./
RUN npm ci
COPY . .
RUN npm ci --omit=dev
FROM good AS later
RUN npm install
FROM python AS skipped
# check=skip=CopyBeforeDependencies
COPY . .
RUN python -m pip install -r requirements.txt
FROM rust AS parts
COPY --exclude=target . .
RUN cargo fetch
